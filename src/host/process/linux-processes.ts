import { closeSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { hostErrors } from "../errors.ts";
import { failpoints } from "../failpoints.ts";
import type { Child, ExitStatus, ProcessIdentity, Processes, RunRequest, RunResult, SpawnRequest } from "../host.ts";
import type { WorkerClient } from "../kernel/worker-client.ts";
import { bind, checked } from "../libc.ts";
import { DescriptorWatch } from "../poll.ts";
import { SyscallError } from "../syscall-error.ts";
import { ChildFds } from "./child-fds.ts";
import { openPidfd, sendSignal } from "./pidfd.ts";
import { type SpawnPlan, spawnProcess } from "./posix-spawn.ts";
import { pointOf } from "./process-failpoint.ts";
import { parseProcStat } from "./proc-stat.ts";
import { findProgram, withSystemDirectories } from "./program-path.ts";
import { runToEnd } from "./run.ts";
import { SealedPrograms } from "./sealed-program.ts";

const waitpid = bind<(pid: number, status: Int32Array, options: number) => number>(
  "int waitpid(int pid, void *status, int options)",
);
const WNOHANG = 1;

/** Processes of this machine, by posix_spawn and pidfds. */
export class LinuxProcesses implements Processes {
  readonly #watches = new Set<DescriptorWatch>();
  readonly #sealed = new SealedPrograms();
  readonly #worker: WorkerClient;
  #closed = false;

  constructor(worker: WorkerClient) {
    this.#worker = worker;
  }

  async spawn(ctx: OpContext, request: SpawnRequest): Promise<Child> {
    return await this.#start(ctx, request, request.newSession === true ? "session" : "group");
  }

  async run(ctx: OpContext, request: RunRequest): Promise<RunResult> {
    return await runToEnd(ctx, request, (spawnRequest) => this.#start(ctx, spawnRequest, "group"));
  }

  identify(pid: number): ProcessIdentity | undefined {
    const stat = readStat(pid);
    return stat === undefined || isDead(stat.state) ? undefined : { pid, startTime: stat.startTime };
  }

  sessionOf(leader: number): readonly ProcessIdentity[] {
    return allPids().flatMap((pid) => {
      const stat = readStat(pid);
      if (stat === undefined || stat.session !== leader || isDead(stat.state)) return [];
      return [{ pid, startTime: stat.startTime }];
    });
  }

  withArgument(argument: string): readonly ProcessIdentity[] {
    return allPids().flatMap((pid) => {
      // In this order, a pid that changes hands in between gives an identity that is dead, which harms nobody.
      const identity = this.identify(pid);
      return identity !== undefined && readArguments(pid).includes(argument) ? [identity] : [];
    });
  }

  isAlive(identity: ProcessIdentity): boolean {
    return this.identify(identity.pid)?.startTime === identity.startTime;
  }

  isEnding(identity: ProcessIdentity): boolean {
    const stat = readStat(identity.pid);
    return stat === undefined || stat.startTime !== identity.startTime || isDead(stat.state) || stat.exiting;
  }

  signal(identity: ProcessIdentity, signal: number): boolean {
    if (failpoints.on) {
      const failure = () => new SyscallError("pidfd_send_signal", constants.errno.EPERM);
      failpoints.beforeSync("process.signal", `${signal} to ${identity.pid}`, failure);
    }
    try {
      const pidfd = openPidfd(identity.pid);
      // The descriptor stands for whatever has the pid now; from here on it can't become another process.
      if (!this.isAlive(identity)) {
        closeSync(pidfd);
        return false;
      }
      sendSignal(pidfd, signal);
      return true;
    } catch (error) {
      if (isGone(error)) return false;
      throw error;
    }
  }

  async waitGone(identity: ProcessIdentity, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    let pidfd: number;
    try {
      pidfd = openPidfd(identity.pid);
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
    if (!this.isAlive(identity)) {
      closeSync(pidfd);
      return;
    }
    await this.#readable(pidfd, signal);
  }

  which(program: string): string | undefined {
    return findProgram(program, withSystemDirectories(process.env["PATH"]));
  }

  sealed(program: string): string {
    return this.#sealed.path(program);
  }

  /** Stops watching; promises of what still runs stay open. */
  close(): void {
    this.#closed = true;
    this.#sealed[Symbol.dispose]();
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#watches.clear();
  }

  async #start(ctx: OpContext, request: SpawnRequest, leads: "session" | "group"): Promise<Child> {
    if (this.#closed) throw hostErrors.HOST_CLOSED({ call: "spawn" });
    ctx.signal.throwIfAborted();
    const [name] = request.argv;
    const path = request.env["PATH"] ?? withSystemDirectories(undefined);
    const program = findProgram(name, path, request.cwd);
    if (program === undefined) throw hostErrors.PROGRAM_NOT_FOUND({ program: name, path });
    if (failpoints.on) {
      const failure = () => spawnFailure(name, new SyscallError("posix_spawn", constants.errno.EAGAIN), request.cwd);
      await failpoints.before(pointOf(request.argv), request.argv.join(" "), failure);
    }
    using fds = await openFds(name, request);
    let pid: number;
    try {
      pid = await this.#spawn(request.over ?? [], {
        program,
        argv: request.argv,
        env: Object.entries(request.env).map(([key, value]) => `${key}=${value}`),
        cwd: request.cwd,
        fds: fds.sources,
        leads,
      });
    } catch (error) {
      throw spawnFailure(name, error, request.cwd);
    }
    // Nobody but us reaps it, so that the pid is the child's until then.
    const identity = { pid, startTime: readStat(pid)?.startTime ?? 0 };
    const exited = this.#reap(pid);
    return { identity, pipes: fds.release(), exited };
  }

  async #spawn(over: NonNullable<SpawnRequest["over"]>, plan: SpawnPlan): Promise<number> {
    if (over.length === 0) return await spawnProcess(plan);
    // A process is in the namespaces of the thread that makes it, and only the worker may change its own.
    const { pid, errno } = await this.#worker.call("spawnOver", over, plan);
    if (errno !== 0) throw new SyscallError("posix_spawn", errno);
    return pid;
  }

  async #reap(pid: number): Promise<ExitStatus> {
    await this.#readable(openPidfd(pid), undefined);
    const status = new Int32Array(1);
    checked("waitpid", waitpid(pid, status, WNOHANG));
    return decodeWaitStatus(status[0] ?? 0);
  }

  /** Resolves when the pidfd's process has ended; closes it. */
  async #readable(pidfd: number, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const watch = new DescriptorWatch(pidfd, resolve);
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    this.#watches.add(watch);
    try {
      watch.watch({ readable: true });
      await promise;
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#watches.delete(watch);
      watch[Symbol.dispose]();
      closeSync(pidfd);
    }
  }
}

/** A status of wait(2): low 7 bits the signal, next 8 the exit code. */
export function decodeWaitStatus(status: number): ExitStatus {
  const signal = status & 0x7f;
  return signal === 0 ? { code: (status >> 8) & 0xff, signal: 0 } : { code: 0, signal };
}

function readStat(pid: number) {
  try {
    return parseProcStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    // ENOENT, or ESRCH when it ended between open and read.
    return undefined;
  }
}

function allPids(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function readArguments(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // It has ended.
  }
}

function isDead(state: string): boolean {
  return state === "Z" || state === "X" || state === "x";
}

/** ESRCH: no such process. EINVAL: the id is a thread's, not a process's. */
function isGone(error: unknown): boolean {
  return error instanceof SyscallError && (error.code === "ESRCH" || error.code === "EINVAL");
}

async function openFds(program: string, request: SpawnRequest): Promise<ChildFds> {
  try {
    return await ChildFds.open(request.fds ?? {});
  } catch (error) {
    throw spawnFailure(program, error);
  }
}

function spawnFailure(program: string, error: unknown, cwd?: string): Error {
  if (!(error instanceof Error)) return new Error(messageOf(error), { cause: error });
  if (!("code" in error && typeof error.code === "string")) return error;
  const reason = error instanceof SyscallError ? error.text : error.message;
  // The kernel says ENOENT for the program, its interpreter and the directory alike.
  const text = cwd !== undefined && !existsSync(cwd) ? `${reason} (working directory ${cwd})` : reason;
  return hostErrors.PROCESS_SPAWN_FAILED({ program, errno: error.code, text }, { cause: error });
}
