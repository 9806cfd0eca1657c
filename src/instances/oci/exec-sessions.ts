import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { makeSmallDirectory, writeSmallFile } from "../../host/files.ts";
import type { Host, ProcessIdentity } from "../../host/host.ts";
import type { ExecRequest, ExecTask, TaskIo, TerminalSize } from "../driver.ts";
import { driverErrors } from "../driver-errors.ts";
import { AttachHub } from "./attach-hub.ts";
import { readBundle, readIfThere, removeDirectory } from "./bundle.ts";
import { type MonitoredExec, type MonitorExec, type Monitors, monitorExec } from "./conmon.ts";
import { resizeTerminal } from "./control-fifo.ts";
import { runDirectly } from "./direct-exec.ts";
import { execProcess } from "./exec-process.ts";
import type { OciTask } from "./handle.ts";
import { connectToMonitor } from "./monitor-socket.ts";
import { namesIn } from "./removal.ts";

const SIGKILL = 9;
/** What a client watches. */
const attachedPrefix = "exec-";
/** What goes on without the engine. */
const detachedPrefix = "detached-";

/**
 * Starts a further process in a running container. One that nobody watches has a monitor, which outlives the engine; so has one with a
 * terminal, which the monitor holds. The others are the engine's own children. See docs/adr/0007.
 */
export async function startExec(
  ctx: OpContext,
  monitors: Monitors,
  task: OciTask,
  request: ExecRequest,
): Promise<ExecTask> {
  const { host } = monitors;
  const container = readBundle(task.dir, task.id);
  if (container === undefined) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
  const process = await execProcess(ctx, host, container, request);
  const execDir = join(task.dir, execName(request));
  const processFile = join(execDir, "process.json");
  await makeSmallDirectory(execDir, 0o700);
  try {
    await writeSmallFile(processFile, JSON.stringify(process), { mode: 0o600 });
    const command = request.argv[0] ?? "";
    const at = { id: task.id, dir: task.dir, execDir, processFile, command, container: task.init };
    const running =
      request.tty || request.detached
        ? await runMonitored(ctx, monitors, request, at)
        : await runDirectly(ctx, monitors, { ...at, stdin: request.stdin });
    const identity = host.processes.identify(running.pid);
    return {
      pid: running.pid,
      io: running.io,
      exited: running.exitCode.finally(async () => {
        await endDeserted(ctx, host, task, identity);
        await removeDirectory(execDir);
      }),
      resize: async (size: TerminalSize) => {
        if (!request.tty) throw driverErrors.TASK_HAS_NO_TTY({ id: request.execId });
        if (!(await resizeTerminal(execDir, size))) throw driverErrors.TASK_NOT_RUNNING({ id: request.execId });
      },
      signal: async (signal: number) => {
        const sent = identity !== undefined && host.processes.signal(identity, signal);
        if (!sent) throw driverErrors.TASK_NOT_RUNNING({ id: request.execId });
      },
    };
  } catch (error) {
    await removeDirectory(execDir);
    throw error;
  }
}

/**
 * Ends a command whose runtime or monitor was killed. Those end after it: that it lives on means that its exit code is lost and its
 * streams are broken, while nobody knows that it is still there.
 */
async function endDeserted(
  ctx: OpContext,
  host: Host,
  task: OciTask,
  command: ProcessIdentity | undefined,
): Promise<void> {
  if (command === undefined || !host.processes.isAlive(command)) return;
  try {
    // Nothing but what is in the container: the number was taken from a file.
    const members = await host.cgroups.processes(task.cgroupPath);
    if (members.includes(command.pid)) host.processes.signal(command, SIGKILL);
  } catch (error) {
    // The container ends, and takes the command along.
    ctx.log.warn(
      { id: task.id, pid: command.pid, error: messageOf(error) },
      "could not end a command without a runtime",
    );
  }
}

async function runMonitored(
  ctx: OpContext,
  monitors: Monitors,
  { tty, stdin }: ExecRequest,
  at: Pick<MonitorExec, "id" | "dir" | "execDir" | "processFile" | "command" | "container">,
): Promise<MonitoredExec & { readonly io: TaskIo }> {
  let hub: AttachHub | undefined;
  let io: TaskIo | undefined;
  try {
    const running = await monitorExec(ctx, monitors, {
      ...at,
      streams: { tty, stdin, keepStdinOpen: tty, logPath: "" },
      onAttachable: async (monitor) => {
        // Without a terminal conmon takes nobody before the command runs; such a command is detached, and its output nobody's.
        const to = { path: join(at.execDir, "attach"), monitor, taken: tty };
        const socket = await connectToMonitor(ctx, monitors.host, to);
        if (socket === undefined) return false;
        hub = new AttachHub(socket, { stdin, endsStdin: !tty, onClosed: () => {} });
        io = hub.attach();
        return true;
      },
    });
    if (io === undefined) throw driverErrors.TASK_NOT_RUNNING({ id: at.id });
    return { ...running, io };
  } catch (error) {
    hub?.close();
    throw error;
  }
}

/** Name of an exec's directory in the bundle. */
export function execName({ execId, detached }: Pick<ExecRequest, "execId" | "detached">): string {
  return `${detached ? detachedPrefix : attachedPrefix}${execId}`;
}

/**
 * Ends what an engine that was killed left of the commands that clients watched: nobody can reach them any more. Detached ones go on;
 * what is over is tidied up. `known` are directories of this engine's.
 */
export async function endOrphanedExecs(
  host: Host,
  instance: { readonly dir: string; readonly cgroupPath: string },
  known: ReadonlySet<string>,
): Promise<void> {
  const orphans = (await namesIn(instance.dir)).filter((name) => isExec(name) && !known.has(name));
  if (orphans.length === 0) return;
  for (const name of orphans) {
    const dir = join(instance.dir, name);
    const pid = await orphanPid(host, dir);
    // The number may be another process's by now, but not one in the container's control group that we did not mean.
    const members = await host.cgroups.processes(instance.cgroupPath);
    const identity: ProcessIdentity | undefined = members.includes(pid) ? host.processes.identify(pid) : undefined;
    if (identity !== undefined && name.startsWith(detachedPrefix)) continue;
    if (identity !== undefined) host.processes.signal(identity, SIGKILL);
    await removeDirectory(dir);
  }
}

/** 0 when it never ran. A runtime that is still about to start it is waited for. */
async function orphanPid(host: Host, dir: string): Promise<number> {
  const file = join(dir, "pid");
  for (;;) {
    const starting = host.processes.withArgument(file);
    const pid = Number((await readIfThere(file)) ?? 0);
    if (pid > 0 || starting.length === 0) return pid;
    await delay(10);
  }
}

function isExec(name: string): boolean {
  return name.startsWith(attachedPrefix) || name.startsWith(detachedPrefix);
}
