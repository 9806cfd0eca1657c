import { join } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import { mkdir, writeFile } from "../../host/files.ts";
import type { Host, ProcessIdentity } from "../../host/host.ts";
import type { ExecRequest, ExecTask, TerminalSize } from "../driver.ts";
import { driverErrors } from "../driver-errors.ts";
import { AttachHub } from "./attach-hub.ts";
import { readBundle, readIfThere, removeDirectory } from "./bundle.ts";
import { type Monitors, monitorExec } from "./conmon.ts";
import { resizeTerminal } from "./control-fifo.ts";
import { execProcess } from "./exec-process.ts";
import type { OciTask } from "./handle.ts";
import { namesIn } from "./removal.ts";

const SIGKILL = 9;
const prefix = "exec-";

/** Starts a further process in a running container. Its conmon and its files go with it. */
export async function startExec(
  ctx: OpContext,
  monitors: Monitors,
  task: OciTask,
  request: ExecRequest,
): Promise<ExecTask> {
  const { host } = monitors;
  const container = await readBundle(task.dir, task.id);
  if (container === undefined) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
  const process = await execProcess(ctx, host, container, request);
  const execDir = join(task.dir, execName(request.execId));
  const processFile = join(execDir, "process.json");
  await mkdir(execDir, { mode: 0o700 });
  let hub: AttachHub | undefined;
  try {
    await writeFile(processFile, JSON.stringify(process), { mode: 0o600 });
    let io: ExecTask["io"] | undefined;
    const running = await monitorExec(ctx, monitors, {
      id: task.id,
      dir: task.dir,
      execDir,
      processFile,
      command: request.argv[0] ?? "",
      streams: { tty: request.tty, stdin: request.stdin, keepStdinOpen: request.tty, logPath: "" },
      onAttachable: async () => {
        const socket = await host.sockets.connectSeqpacket(ctx, join(execDir, "attach"));
        hub = new AttachHub(socket, { stdin: request.stdin, endsStdin: !request.tty, onClosed: () => {} });
        io = hub.attach();
      },
    });
    if (io === undefined) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
    const identity = host.processes.identify(running.pid);
    return {
      pid: running.pid,
      io,
      exited: running.exitCode.finally(() => removeDirectory(execDir)),
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
    hub?.close();
    await removeDirectory(execDir);
    throw error;
  }
}

/** Name of an exec's directory in the bundle. */
export function execName(execId: string): string {
  return `${prefix}${execId}`;
}

/** Ends what an engine that was killed left running by exec: nobody can reach it any more. `known` are names of this engine's. */
export async function endOrphanedExecs(
  host: Host,
  instance: { readonly dir: string; readonly cgroupPath: string },
  known: ReadonlySet<string>,
): Promise<void> {
  const orphans = (await namesIn(instance.dir)).filter((name) => name.startsWith(prefix) && !known.has(name));
  if (orphans.length === 0) return;
  const members = new Set(await host.cgroups.processes(instance.cgroupPath));
  for (const name of orphans) {
    const dir = join(instance.dir, name);
    const pid = Number((await readIfThere(join(dir, "pid"))) ?? 0);
    // The number may be another process's by now, but not one in the container's control group that we did not mean.
    const identity: ProcessIdentity | undefined = members.has(pid) ? host.processes.identify(pid) : undefined;
    if (identity !== undefined) host.processes.signal(identity, SIGKILL);
    await removeDirectory(dir);
  }
}
