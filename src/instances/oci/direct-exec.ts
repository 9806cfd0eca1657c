import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import { errnoOf } from "../../host/errors.ts";
import type { Child, ExitStatus, Host, ProcessIdentity } from "../../host/host.ts";
import { endSession } from "../../host/process/end-session.ts";
import { bundleFiles, readIfThere } from "./bundle.ts";
import type { MonitorExec, MonitoredExec, Monitors } from "./conmon.ts";
import { PipedIo } from "./exec-pipes.ts";
import { runtimeFailure } from "./runtime-failure.ts";
import { directCommand } from "./runtimes.ts";

const SIGKILL = 9;
/** Looks at the pid file: the first after what a runtime takes at the least, then often, then as becomes a machine that is busy. */
const firstLookMs = 4;
const looksOften = 16;
const looksSeldomMs = 5;
/** For a runtime that was at it when the container ended, to end as well: crun may wait for ever. */
const graceMs = 1000;

export type DirectExec = Pick<MonitorExec, "id" | "execDir" | "processFile" | "command" | "container"> & {
  readonly stdin: boolean;
};

/**
 * Has the runtime run a command whose streams the engine holds itself. Without a monitor it starts in a third of the time, and its
 * streams end with the engine: for a command that a client watches, whose connection does so too. Resolves when the command runs.
 */
export async function runDirectly(
  ctx: OpContext,
  { host, runtime }: Monitors,
  { id, execDir, processFile, command, container, stdin }: DirectExec,
): Promise<MonitoredExec & { readonly io: PipedIo }> {
  const files = bundleFiles(execDir, id);
  const { argv, over } = directCommand(host, runtime);
  const child = await host.processes.spawn(ctx, {
    argv: [...argv, `--log=${files.runtimeLog}`, "exec", "--process", processFile, "--pid-file", files.pid, id],
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
    cwd: "/",
    over,
    fds: {
      ...(stdin ? { 0: { kind: "pipe", parent: "writes" } } : {}),
      1: { kind: "pipe", parent: "reads" },
      2: { kind: "pipe", parent: "reads" },
    },
    newSession: true,
  });
  const io = new PipedIo({ stdin: child.pipes[0], stdout: pipeOf(child, 1), stderr: pipeOf(child, 2) });
  try {
    const pid = await startedPid(ctx, host, { child, container, file: files.pid });
    if (pid === undefined) {
      const text = (await readIfThere(files.runtimeLog)) ?? "";
      throw runtimeFailure({ id, step: "exec", command, text });
    }
    const exitCode = child.exited.then(shellCode);
    void exitCode.then(() => io.ended());
    return { pid, exitCode, io };
  } catch (error) {
    io.discard();
    host.processes.signal(child.identity, SIGKILL);
    await child.exited;
    // What it has forked would go on without it.
    await endSession(cleanupContext(ctx), host.processes, child.identity);
    throw error;
  }
}

/** Waits for what the runtime writes once the command is executed; undefined when the runtime, or the container, has ended without. */
async function startedPid(
  ctx: OpContext,
  { processes }: Host,
  { child, container, file }: { readonly child: Child; readonly container: ProcessIdentity; readonly file: string },
): Promise<number | undefined> {
  let ended = false;
  const end = child.exited.finally(() => {
    ended = true;
  });
  let goneAt: number | undefined;
  for (let look = 0; ; look++) {
    // In this order: it may have written the pid and ended since.
    const last = ended || (goneAt !== undefined && performance.now() - goneAt > graceMs);
    const pid = pidIn(file);
    if (pid !== undefined || last) return pid;
    ctx.signal.throwIfAborted();
    if (look >= looksOften && !processes.isAlive(container)) goneAt ??= performance.now();
    const waitMs = look === 0 ? firstLookMs : look < looksOften ? 1 : looksSeldomMs;
    await Promise.race([end, delay(waitMs)]);
  }
}

/** Undefined as long as the runtime has not written it. */
function pidIn(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, "utf8"));
    return pid > 0 ? pid : undefined;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function shellCode({ code, signal }: ExitStatus): number {
  return signal === 0 ? code : 128 + signal;
}

function pipeOf(child: Child, fd: number): number {
  const pipe = child.pipes[fd];
  if (pipe === undefined) throw new Error(`descriptor ${fd} was asked for as a pipe`);
  return pipe;
}
