import type { OpContext } from "../base/op-context.ts";
import { ClientSession } from "./attach-session.ts";
import type { OutputFrame, TerminalSize } from "./driver.ts";
import { instanceErrors } from "./errors.ts";
import type { AttachOptions, AttachSession } from "./instance-service.ts";
import { openLogFiles } from "./logs/log-files.ts";
import { readLog } from "./logs/read-log.ts";
import { driverOf, logPath, type Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";

/** See {@link InstanceService.attach}. Takes no lock: a client may attach while a stop waits. */
export async function attachInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  options: AttachOptions,
): Promise<AttachSession> {
  const record = resolveInstance(parts.records, nameOrId);
  const { id, spec, state } = record;
  if (state.status === "paused") throw instanceErrors.ATTACH_PAUSED({ name: nameOrId });
  if (state.status === "restarting") throw instanceErrors.ATTACH_RESTARTING({ name: nameOrId });
  const { waitingSessions } = parts.lives.of(id);
  const session: ClientSession = new ClientSession({
    tty: spec.process.tty,
    stdin: options.stdin && spec.process.openStdin && options.stream,
    stdout: options.stdout,
    stderr: options.stderr,
    closesStdin: spec.process.stdinOnce && !spec.process.tty,
    onLeave: (byDetachKeys) => {
      waitingSessions.delete(session);
      if (byDetachKeys) parts.publish(parts.records.get(id) ?? record, "detach");
    },
  });
  if (options.logs) session.replay(await loggedFrames(parts, id, spec.log.driver));
  parts.publish(record, "attach");
  if (!options.stream) {
    session.end();
    return session;
  }
  // Again, since the log was read meanwhile. With no await in between, a start can't slip past the waiting list.
  const { handle, status } = parts.records.require(id).state;
  if (handle !== null && status === "running") session.connect(await driverOf(parts, spec).attach(ctx, handle));
  else waitingSessions.add(session);
  return session;
}

export async function resizeInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  size: TerminalSize,
): Promise<void> {
  const record = resolveInstance(parts.records, nameOrId);
  const { handle, status } = record.state;
  if (handle === null || (status !== "running" && status !== "paused")) {
    throw instanceErrors.NOT_RUNNING({ id: record.id });
  }
  await driverOf(parts, record.spec).resize(ctx, handle, size);
  parts.publish(record, "resize", { height: String(size.rows), width: String(size.columns) });
}

async function loggedFrames(parts: Parts, id: string, driver: string): Promise<readonly OutputFrame[]> {
  if (driver === "none") throw instanceErrors.LOGS_NOT_READABLE({});
  await using files = await openLogFiles(logPath(parts, id));
  const frames: OutputFrame[] = [];
  for await (const { stream, data } of readLog(files, { stdout: true, stderr: true })) frames.push({ stream, data });
  return frames;
}
