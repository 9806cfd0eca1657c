import { join } from "node:path";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import type { Child, ChildFd, Host, ProcessIdentity } from "../../host/host.ts";
import { endSession } from "../../host/process/end-session.ts";
import { bundleFiles, readIfThere, writeMonitor } from "./bundle.ts";
import { GoPipe, type Report, ReportReader } from "./conmon-reports.ts";
import { runtimeFailure } from "./runtime-failure.ts";
import { type OciRuntime, type RuntimeCommand, runtimeCommand } from "./runtimes.ts";

/** conmon, with the runtime that it is to call. */
export interface Monitors {
  readonly host: Host;
  readonly conmon: string;
  readonly runtime: OciRuntime;
  /** A directory for conmon's console sockets, of a name short enough for one (108 bytes). */
  readonly socketDir: string;
}

/** Streams of a monitored process. */
export interface Streams {
  readonly tty: boolean;
  readonly stdin: boolean;
  /** stdin stays open when a client leaves. */
  readonly keepStdinOpen: boolean;
  /** "" keeps no log. */
  readonly logPath: string;
}

export interface MonitorContainer {
  readonly id: string;
  /** The bundle; conmon's socket, FIFOs and exit file are put into it. */
  readonly dir: string;
  readonly streams: Streams;
  /** argv[0] of what is to run, for errors. */
  readonly command: string;
}

/**
 * Runs `create` under a new conmon, which gets ready while `bundle` is being written. Resolves when the container waits to be started:
 * with its first process.
 */
export async function monitorContainer(
  ctx: OpContext,
  monitors: Monitors,
  request: MonitorContainer,
  bundle: Promise<void>,
): Promise<{ readonly monitor: Child; readonly pid: number }> {
  bundle.catch(() => {});
  const { id, dir } = request;
  const files = bundleFiles(dir, id);
  using runtime = await runtimeCommand(ctx, monitors.host, monitors.runtime);
  const monitor = await spawnConmon(ctx, monitors, {
    dir,
    argv: [...commonArguments(monitors, runtime, request, dir), "-p", files.pid, "--exit-dir", dir],
    fds: { 3: { kind: "pipe", parent: "reads" }, 4: { kind: "pipe", parent: "writes" } },
    env: { _OCI_SYNCPIPE: "3", _OCI_STARTPIPE: "4" },
  });
  try {
    using reports = new ReportReader(pipeOf(monitor, 3));
    using start = new GoPipe(pipeOf(monitor, 4));
    await writeMonitor(dir, id, monitor.identity);
    await bundle;
    start.go();
    const report = await runtimeReport(ctx, monitors, monitor, reports);
    if (report !== undefined && report.data > 0) return { monitor, pid: report.data };
    const text = report?.message ?? (await readIfThere(files.runtimeLog)) ?? "";
    throw runtimeFailure({ id, step: "create", command: request.command, text });
  } catch (error) {
    await endMonitor(ctx, monitors, monitor);
    throw error;
  }
}

const runtimeLookMs = 1000;

/**
 * What conmon says of the runtime that it called; undefined when it has ended, or will not say anything: of a runtime that was killed it
 * wants all that this had to say, and waits for ever when a container that was made already has the same stderr. And of a runtime that waits
 * itself, since the `container` that it was to enter has ended.
 */
async function runtimeReport(
  ctx: OpContext,
  { host: { processes } }: Monitors,
  monitor: Child,
  reports: ReportReader,
  container?: ProcessIdentity,
): Promise<Report | undefined> {
  const { pid: leader } = monitor.identity;
  let looksInVain = 0;
  const timer = setInterval(() => {
    // What the runtime makes has a session of its own. Twice, since conmon takes a moment to tell.
    const hasRuntime = processes.sessionOf(leader).some(({ pid }) => pid !== leader);
    const hasContainer = container === undefined || processes.isAlive(container);
    looksInVain = hasRuntime && hasContainer ? 0 : looksInVain + 1;
    if (looksInVain === 2) reports.giveUp();
  }, runtimeLookMs);
  try {
    return await reports.next(ctx);
  } finally {
    clearInterval(timer);
  }
}

/** With the runtime that it called, which would go on without it: it may not be in the container's control group yet. */
async function endMonitor(ctx: OpContext, { host: { processes } }: Monitors, monitor: Child): Promise<void> {
  processes.signal(monitor.identity, SIGKILL);
  await monitor.exited;
  await endSession(cleanupContext(ctx), processes, monitor.identity);
}

export interface MonitorExec extends MonitorContainer {
  /** Directory of this exec, inside the bundle. */
  readonly execDir: string;
  /** File with the OCI process to run. */
  readonly processFile: string;
  /** The container's first process: once that has ended the runtime may wait for ever. */
  readonly container: ProcessIdentity;
  /** Called when clients can connect, before the process runs; resolves to false when the monitor has ended, of which its reports tell. */
  readonly onAttachable: (monitor: ProcessIdentity) => Promise<boolean>;
}

export interface MonitoredExec {
  readonly pid: number;
  /** As a shell reports it. */
  readonly exitCode: Promise<number>;
}

/** Runs `exec` under a conmon of its own. Resolves when the process runs. */
export async function monitorExec(ctx: OpContext, monitors: Monitors, request: MonitorExec): Promise<MonitoredExec> {
  const { id, execDir } = request;
  using runtime = await runtimeCommand(ctx, monitors.host, monitors.runtime);
  const monitor = await spawnConmon(ctx, monitors, {
    dir: execDir,
    argv: [
      ...commonArguments(monitors, runtime, request, execDir),
      "-p",
      join(execDir, "pid"),
      "-e",
      "--exec-attach",
      "--exec-process-spec",
      request.processFile,
    ],
    fds: {
      3: { kind: "pipe", parent: "reads" },
      4: { kind: "pipe", parent: "writes" },
      5: { kind: "pipe", parent: "reads" },
    },
    env: { _OCI_SYNCPIPE: "3", _OCI_STARTPIPE: "4", _OCI_ATTACHPIPE: "5" },
  });
  const reports = new ReportReader(pipeOf(monitor, 3));
  try {
    using attachable = new ReportReader(pipeOf(monitor, 5));
    using start = new GoPipe(pipeOf(monitor, 4));
    start.go();
    if ((await attachable.next(ctx)) !== undefined && (await request.onAttachable(monitor.identity))) start.go();
    const report = await runtimeReport(ctx, monitors, monitor, reports, request.container);
    if (report === undefined || report.data <= 0) {
      const text = report?.message ?? (await readIfThere(bundleFiles(execDir, id).runtimeLog)) ?? "";
      throw runtimeFailure({ id, step: "exec", command: request.command, text });
    }
    return { pid: report.data, exitCode: execExit(reports, monitor) };
  } catch (error) {
    reports[Symbol.dispose]();
    await endMonitor(ctx, monitors, monitor);
    throw error;
  }
}

const SIGKILL = 9;
/** When conmon was killed and took the exit code with it, as Docker reports an exit that it could not read. */
const unknownExit = 255;

async function execExit(reports: ReportReader, monitor: Child): Promise<number> {
  using _ = reports;
  const report = await reports.next();
  await monitor.exited;
  return report === undefined || report.data < 0 ? unknownExit : report.data;
}

function commonArguments(
  { conmon }: Monitors,
  { argv: [program, ...first] }: RuntimeCommand,
  { id, streams }: MonitorContainer,
  dir: string,
): readonly [string, ...string[]] {
  return [
    conmon,
    "--api-version",
    "1",
    "-c",
    id,
    "-u",
    id,
    "-n",
    id,
    "-r",
    program,
    ...first.map((argument) => `--runtime-arg=${argument}`),
    `--runtime-arg=--log=${bundleFiles(dir, id).runtimeLog}`,
    "-b",
    dir,
    "--full-attach",
    ...(streams.tty ? ["-t"] : []),
    ...(streams.stdin ? ["-i"] : []),
    ...(streams.keepStdinOpen ? ["--leave-stdin-open"] : []),
    "-l",
    streams.logPath === "" ? "none" : `k8s-file:${streams.logPath}`,
    "--log-level",
    "error",
    "--sync",
    "--no-sync-log",
  ];
}

async function spawnConmon(
  ctx: OpContext,
  { host, socketDir }: Monitors,
  request: {
    readonly dir: string;
    readonly argv: readonly [string, ...string[]];
    readonly fds: Readonly<Record<number, ChildFd>>;
    readonly env: Readonly<Record<string, string>>;
  },
): Promise<Child> {
  return await host.processes.spawn(ctx, {
    argv: request.argv,
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      LC_ALL: "C",
      TMPDIR: socketDir,
      // Where a crun that is killed while it copies itself leaves a file; it would be /tmp.
      _LIBCONTAINER_STATEDIR: request.dir,
      ...request.env,
    },
    cwd: "/",
    fds: request.fds,
    newSession: true,
  });
}

function pipeOf(child: Child, fd: number): number {
  const pipe = child.pipes[fd];
  if (pipe === undefined) throw new Error(`descriptor ${fd} was asked for as a pipe`);
  return pipe;
}
