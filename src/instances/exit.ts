import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import { rm } from "../host/files.ts";
import type { DriverHandle, InstanceRecord } from "../schema/instance.ts";
import { anonymousVolumes } from "./anonymous-volumes.ts";
import type { TaskExit } from "./driver.ts";
import { unmountVolumes } from "./mounts.ts";
import { unmountSharedMemory } from "./namespaces.ts";
import { driverOf, type Parts, runDir } from "./parts.ts";
import { forgetInstance, removeAnonymousVolumes, removeFiles } from "./remove.ts";
import { restartDelay } from "./restart-policy.ts";

export type Outcome =
  | { readonly kind: "stopped" | "removed" }
  | { readonly kind: "restart"; readonly delayMs: number; readonly planned: AbortController };

/**
 * Records the end of a run whose lock is held: frees its ports, tells those who wait, cleans up, and says whether its policy
 * wants it back. With `--rm` the record goes first and the files after it: recovery collects what no record owns.
 */
export async function endRun(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  exit: TaskExit,
  ranMs: number,
): Promise<Outcome> {
  const { id, spec, state } = record;
  const live = parts.lives.of(id);
  await attempt(ctx, "tear down the network", () => parts.networks.tearDown(ctx, id));
  const delayMs = restartDelay(spec.restartPolicy, {
    exitCode: exit.exitCode,
    unhealthy: state.health?.status === "unhealthy",
    ranMs,
    exitIsFinal: live.exitIsFinal,
    manuallyStopped: state.manuallyStopped,
    restartCount: state.restartCount,
    lastDelayMs: live.restartDelayMs,
  });
  const attributes = { exitCode: String(exit.exitCode), execDuration: String(Math.floor(ranMs / 1000)) };
  if (exit.oomKilled) parts.publish(record, "oom");
  if (spec.autoRemove && !live.restarting) {
    parts.publish(record, "die", attributes);
    await autoRemove(parts, ctx, record, exit);
    return { kind: "removed" };
  }

  const ended = parts.records.setState(
    id,
    {
      status: delayMs === undefined ? "exited" : "restarting",
      pid: 0,
      exitCode: exit.exitCode,
      oomKilled: exit.oomKilled,
      error: exit.error ?? "",
      finishedAt: exit.finishedAt,
      restartCount: state.restartCount + (delayMs === undefined ? 0 : 1),
      handle: null,
      endpoints: [],
      ports: [],
    },
    { durable: false },
  );
  parts.publish(ended, "die", attributes);
  const result = { exitCode: exit.exitCode, error: "" };
  if (delayMs === undefined) live.waits.stopped(result);
  else live.waits.exited(result);
  await cleanUpRun(parts, ctx, record, state.handle);
  if (delayMs === undefined) return { kind: "stopped" };
  live.restartDelayMs = delayMs;
  live.plannedRestart = new AbortController();
  return { kind: "restart", delayMs, planned: live.plannedRestart };
}

/** Gives back what a run held besides its network. Each step is tried: recovery finishes what one leaves. */
async function cleanUpRun(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  handle: DriverHandle | null,
): Promise<void> {
  const { id, spec } = record;
  if (handle !== null) await attempt(ctx, "destroy the task", () => driverOf(parts, spec).destroy(ctx, handle));
  if (spec.namespaces.ipc === "shareable") {
    await attempt(ctx, "unmount the shared memory", () => unmountSharedMemory(parts, ctx, id));
  }
  await attempt(ctx, "unmount the volumes", () => unmountVolumes(parts, ctx, record));
  // Not waited for: it syncs the file system. A next start, or the removal, comes after it in any case.
  parts.background.run(`unmount the root of ${id}`, () =>
    attempt(ctx, "unmount the root", () => parts.rootMounts.release(ctx, id)),
  );
  await attempt(ctx, "remove the run directory", () => rm(runDir(parts, id), { recursive: true, force: true }));
}

async function autoRemove(parts: Parts, ctx: OpContext, record: InstanceRecord, exit: TaskExit): Promise<void> {
  const { handle } = record.state;
  if (anonymousVolumes(record.spec).length > 0) {
    parts.records.setState(record.id, { status: "removing" }, { durable: false });
    await cleanUpRun(parts, ctx, record, handle);
    await removeAnonymousVolumes(parts, ctx, record);
  } else {
    // Nobody can see these files any more: they go while the client already has its answer.
    parts.background.run(`clean-up after ${record.id}`, async () => {
      await cleanUpRun(parts, ctx, record, handle);
      await removeFiles(parts, ctx, record);
    });
  }
  forgetInstance(parts, record, { exitCode: exit.exitCode, error: "" }, { durable: false });
  if (anonymousVolumes(record.spec).length > 0) await removeFiles(parts, ctx, record);
}

async function attempt(ctx: OpContext, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    ctx.log.warn(
      { step: what, error: messageOf(error) },
      "clean-up step failed; the next start of the engine retries it",
    );
  }
}
