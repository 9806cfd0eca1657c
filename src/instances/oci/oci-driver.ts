import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isBerthError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import { background, type OpContext, withTimeout } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { rm } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";
import type { DriverHandle } from "../../schema/instance.ts";
import type { ResourceSpec, ResourceUsage } from "../../schema/resources.ts";
import type {
  Driver,
  DriverFingerprint,
  ExecRequest,
  ExecTask,
  PrepareRequest,
  Recovered,
  TaskExit,
  TaskIo,
  TerminalSize,
} from "../driver.ts";
import { driverErrors } from "../driver-errors.ts";
import { writeBundle } from "./bundle.ts";
import { CompiledFilters } from "./compiled-filters.ts";
import { type Monitors, monitorContainer } from "./conmon.ts";
import { reopenLogFile, resizeTerminal } from "./control-fifo.ts";
import { ociErrors } from "./errors.ts";
import { endOrphanedExecs, execName, startExec } from "./exec-sessions.ts";
import { handleOf, type OciTask, taskOf } from "./handle.ts";
import { awaitMonitor, namesIn, removeTraces, removeUnknown } from "./removal.ts";
import { chooseRuntime, type OciRuntime, type RuntimeChoice } from "./runtimes.ts";
import { runtimeSpec } from "./spec/runtime-spec.ts";
import { type StaticFacts, specFacts, staticFacts } from "./spec-facts.ts";
import { isWaitingAtGate, openGate } from "./start-gate.ts";
import { TaskExits } from "./task-exits.ts";
import { TaskStreams } from "./task-streams.ts";

export interface OciDriverOptions {
  readonly host: Host;
  readonly config: {
    /** "auto", "crun", "runc", or a path. */
    readonly runtime: string;
  };
  /** The engine's run directory: instances' bundles are in `instances/<id>`, the runtimes' state in `runtime/`. */
  readonly runRoot: string;
  /** Control group above those of the instances, "/berth-1a2b3c". */
  readonly cgroupParent: string;
  readonly log: Logger;
}

/** Chooses the runtime and makes the driver. A machine that lacks something gets one too, which says so when it is used. */
export async function createOciDriver(options: OciDriverOptions): Promise<Driver> {
  const ctx = withTimeout(background(options.log), 30_000);
  const choice = await chooseRuntime(ctx, options.host, {
    configured: options.config.runtime,
    runRoot: options.runRoot,
  });
  return new OciDriver(options, choice);
}

const SIGKILL = 9;
/** How often, and how far apart, an ending process is looked at: 200 ms in all. */
const endingLooks = 40;
const endingLookMs = 5;

/** Containers through an OCI runtime, each with a conmon that keeps its streams, log and exit code without the engine. */
class OciDriver implements Driver {
  readonly name = "oci";
  readonly isolation = "container";
  readonly hardware = false;
  readonly inside = undefined;
  readonly #options: OciDriverOptions;
  readonly #host: Host;
  readonly #choice: RuntimeChoice;
  readonly #facts: StaticFacts;
  readonly #filters: CompiledFilters;
  readonly #exits: TaskExits;
  readonly #streams: TaskStreams;
  readonly #execs = new Set<string>();

  constructor(options: OciDriverOptions, choice: RuntimeChoice) {
    this.#options = options;
    this.#host = options.host;
    this.#choice = choice;
    this.#facts = staticFacts(options.host);
    this.#filters = new CompiledFilters(options.host);
    this.#exits = new TaskExits(options.host);
    this.#streams = new TaskStreams(options.host);
  }

  async fingerprint(): Promise<DriverFingerprint> {
    const { runtime, conmon, versions, reasons } = this.#choice;
    return {
      available: runtime !== undefined && conmon !== undefined,
      reasons,
      versions,
      runtime: runtime?.name ?? "",
    };
  }

  refuse(): void {
    // What can't be is found out by the specification and the kernel.
  }

  expectStart(): void {
    this.#host.cgroups.expectMove();
  }

  async prepare(ctx: OpContext, request: PrepareRequest): Promise<{ handle: DriverHandle; pid: number }> {
    const monitors = this.#monitors();
    const { id, dir } = request;
    await using reverter = new Reverter(ctx);
    reverter.add("remove container", (undo) => this.#remove(undo, request));
    const { process } = request.spec;
    const monitored = {
      id,
      dir,
      streams: {
        tty: process.tty,
        stdin: process.openStdin,
        keepStdinOpen: !process.stdinOnce || process.tty,
        logPath: request.logPath,
      },
      command: [...process.entrypoint, ...process.cmd][0] ?? "",
    };
    const { monitor, pid } = await monitorContainer(
      ctx,
      monitors,
      monitored,
      this.#writeBundle(ctx, monitors, request),
    );
    this.#exits.forget(id);
    const init = this.#host.processes.identify(pid);
    if (init === undefined) {
      throw driverErrors.RUNTIME_FAILED({ id, step: "create", reason: "its first process ended at once" });
    }
    reverter.commit();
    const task: OciTask = {
      id,
      dir,
      runtime: monitors.runtime.name,
      cgroupPath: request.cgroupPath,
      monitor: monitor.identity,
      init,
      tty: process.tty,
      openStdin: process.openStdin,
      stdinOnce: process.stdinOnce && !process.tty,
    };
    return { handle: handleOf(task), pid };
  }

  async start(ctx: OpContext, handle: DriverHandle): Promise<void> {
    const task = this.#live(handle);
    await openGate(ctx, this.#host, this.#runtimeOf(task), task);
  }

  async recover(_ctx: OpContext, handle: DriverHandle): Promise<Recovered> {
    const task = taskOf(handle);
    const { processes, cgroups } = this.#host;
    if (processes.isAlive(task.init)) {
      if (isWaitingAtGate(this.#runtimeOf(task), task.id)) return { status: "prepared" };
      return { status: (await cgroups.isFrozen(task.cgroupPath)) ? "paused" : "running", pid: task.init.pid };
    }
    // The monitor lives on for a moment to write the exit file.
    if (processes.isAlive(task.monitor)) await processes.waitGone(task.monitor);
    const exit = await this.#exits.read(task);
    return exit === undefined ? { status: "lost" } : { status: "exited", exit };
  }

  async wait(ctx: OpContext, handle: DriverHandle): Promise<TaskExit> {
    return await orAborted(this.#exits.of(taskOf(handle)), ctx.signal);
  }

  async signal(_ctx: OpContext, handle: DriverHandle, signal: number): Promise<void> {
    const task = taskOf(handle);
    if (!this.#host.processes.signal(task.init, signal)) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
  }

  async pause(ctx: OpContext, handle: DriverHandle): Promise<void> {
    await this.#whileLive(handle, ({ cgroupPath }) => this.#host.cgroups.freeze(ctx, cgroupPath));
  }

  async resume(ctx: OpContext, handle: DriverHandle): Promise<void> {
    await this.#whileLive(handle, ({ cgroupPath }) => this.#host.cgroups.thaw(ctx, cgroupPath));
  }

  async attach(ctx: OpContext, handle: DriverHandle): Promise<TaskIo> {
    return await this.#streams.attach(ctx, taskOf(handle));
  }

  async resize(_ctx: OpContext, handle: DriverHandle, size: TerminalSize): Promise<void> {
    const task = taskOf(handle);
    if (!task.tty) throw driverErrors.TASK_HAS_NO_TTY({ id: task.id });
    if (!(await resizeTerminal(task.dir, size))) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
  }

  async exec(ctx: OpContext, handle: DriverHandle, request: ExecRequest): Promise<ExecTask> {
    const task = this.#live(handle);
    const runtime = this.#runtimeOf(task);
    if (isWaitingAtGate(runtime, task.id)) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
    if (await this.#host.cgroups.isFrozen(task.cgroupPath)) throw driverErrors.TASK_PAUSED({ id: task.id });
    const name = execName(request);
    this.#execs.add(name);
    try {
      const exec = await startExec(ctx, { ...this.#monitors(), runtime }, task, request);
      void exec.exited.finally(() => this.#execs.delete(name));
      return exec;
    } catch (error) {
      this.#execs.delete(name);
      // Ended under it, with all that an exec needs: that is the reason, not what the runtime made of it.
      const ended = isBerthError(error, "RUNTIME_FAILED")
        ? await this.#endsNow(task)
        : !this.#host.processes.isAlive(task.init);
      if (ended) throw driverErrors.TASK_NOT_RUNNING({ id: task.id }, { cause: error });
      throw error;
    }
  }

  async usage(_ctx: OpContext, handle: DriverHandle): Promise<ResourceUsage> {
    return await this.#whileLive(handle, ({ cgroupPath }) => this.#host.cgroups.usage(cgroupPath));
  }

  async processes(_ctx: OpContext, handle: DriverHandle): Promise<readonly number[]> {
    return await this.#whileLive(handle, ({ cgroupPath }) => this.#host.cgroups.processes(cgroupPath));
  }

  async update(ctx: OpContext, handle: DriverHandle, resources: ResourceSpec): Promise<void> {
    await this.#whileLive(handle, ({ cgroupPath }) => this.#host.cgroups.applyLimits(ctx, cgroupPath, resources));
  }

  async reopenLog(_ctx: OpContext, handle: DriverHandle): Promise<void> {
    const task = taskOf(handle);
    if (!(await reopenLogFile(task.dir))) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
  }

  async destroy(ctx: OpContext, handle: DriverHandle): Promise<void> {
    const task = taskOf(handle);
    // What is left of one whose first process has ended is killed when its group is removed.
    if (this.#host.processes.isAlive(task.init)) {
      await this.#host.cgroups.kill(ctx, task.cgroupPath);
      this.#host.processes.signal(task.init, SIGKILL);
    }
    // The exit code is read before its file goes, for those who wait for it.
    if (existsSync(task.dir)) await orAborted(this.#exits.of(task), ctx.signal);
    await awaitMonitor(ctx, this.#host, task.monitor);
    const { id, dir, cgroupPath } = task;
    await removeTraces(ctx, this.#host, { id, dir, cgroupPath, roots: [this.#runtimeOf(task).root] });
    this.#exits.forget(id);
  }

  async collect(ctx: OpContext, keep: ReadonlySet<string>): Promise<readonly string[]> {
    const { runRoot, cgroupParent } = this.#options;
    const instances = join(runRoot, "instances");
    const roots = (await namesIn(join(runRoot, "runtime"))).map((name) => join(runRoot, "runtime", name));
    const states = await Promise.all(roots.map(namesIn));
    const ids = new Set([
      ...(await namesIn(instances)),
      ...states.flat(),
      ...(await this.#host.cgroups.children(cgroupParent)),
    ]);
    const removed: string[] = [];
    for (const id of ids) {
      const traces = { id, dir: join(instances, id), cgroupPath: `${cgroupParent}/${id}`, roots };
      if (keep.has(id)) {
        await endOrphanedExecs(this.#host, traces, this.#execs);
        continue;
      }
      await removeUnknown(ctx, this.#host, traces);
      ctx.log.info({ id }, "removed what a killed engine had left of a container");
      removed.push(id);
    }
    await removeConsoleSockets(runRoot);
    return removed;
  }

  async #writeBundle(ctx: OpContext, { runtime }: Monitors, request: PrepareRequest): Promise<void> {
    const facts = await specFacts(ctx, this.#host, request, this.#facts);
    const spec = runtimeSpec(request, facts);
    const complete = runtime.name === "crun" ? await this.#filters.attach(ctx, spec) : spec;
    await writeBundle(request.dir, request.id, complete);
  }

  #monitors(): Monitors {
    const { runtime, conmon, reasons } = this.#choice;
    if (runtime === undefined || conmon === undefined) throw ociErrors.RUNTIME_MISSING({ reasons });
    return { host: this.#host, conmon, runtime, socketDir: shortDirectory(this.#options.runRoot) };
  }

  /** The runtime that made the task: another may have been chosen since. */
  #runtimeOf(task: OciTask): OciRuntime {
    const { runtime } = this.#monitors();
    if (runtime.name === task.runtime) return runtime;
    const path = this.#host.processes.which(task.runtime) ?? task.runtime;
    return { ...runtime, name: task.runtime, path, root: join(dirname(runtime.root), task.runtime) };
  }

  /** What fails since the task ended under it is refused as it would be a moment later. */
  async #whileLive<T>(handle: DriverHandle, work: (task: OciTask) => Promise<T>): Promise<T> {
    const task = this.#live(handle);
    try {
      return await work(task);
    } catch (error) {
      if (this.#host.processes.isAlive(task.init)) throw error;
      throw driverErrors.TASK_NOT_RUNNING({ id: task.id }, { cause: error });
    }
  }

  /** A first process that ends kills its namespace's others before it is gone itself: a command of theirs fails earlier. */
  async #endsNow({ init }: OciTask): Promise<boolean> {
    const { processes } = this.#host;
    for (let look = 0; look < endingLooks && !processes.isEnding(init); look++) await delay(endingLookMs);
    return processes.isEnding(init);
  }

  #live(handle: DriverHandle): OciTask {
    const task = taskOf(handle);
    if (!this.#host.processes.isAlive(task.init)) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
    return task;
  }

  /** Undoes a prepare that failed. */
  async #remove(ctx: OpContext, { id, dir, cgroupPath }: PrepareRequest): Promise<void> {
    const { root } = this.#monitors().runtime;
    await this.#host.cgroups.kill(ctx, cgroupPath);
    await removeTraces(ctx, this.#host, { id, dir, cgroupPath, roots: [root] });
  }
}

/** conmon makes a directory for the socket that a terminal is handed over by, and leaves it when it is killed before that. */
async function removeConsoleSockets(runRoot: string): Promise<void> {
  for (const name of await namesIn(runRoot)) {
    if (name.startsWith("conmon-term.")) await rm(join(runRoot, name), { recursive: true, force: true });
  }
}

/** conmon's console socket has a name of 17 bytes below this, and 107 in all. */
function shortDirectory(dir: string): string {
  return Buffer.byteLength(dir) < 88 ? dir : "/tmp";
}

async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
