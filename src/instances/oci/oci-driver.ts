import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import { background, type OpContext, withTimeout } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import type { Host, ProcessIdentity } from "../../host/host.ts";
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
import { AttachHub } from "./attach-hub.ts";
import { bundleFiles, isMissing, readIfThere, removeDirectory, writeBundle } from "./bundle.ts";
import { CompiledFilters } from "./compiled-filters.ts";
import { type Monitors, monitorContainer } from "./conmon.ts";
import { reopenLogFile, resizeTerminal } from "./control-fifo.ts";
import { ociErrors } from "./errors.ts";
import { endOrphanedExecs, startExec } from "./exec-sessions.ts";
import { handleOf, type OciTask, taskOf } from "./handle.ts";
import { chooseRuntime, type OciRuntime, type RuntimeChoice } from "./runtimes.ts";
import { runtimeSpec } from "./spec/runtime-spec.ts";
import { type StaticFacts, specFacts, staticFacts } from "./spec-facts.ts";
import { isWaitingAtGate, openGate } from "./start-gate.ts";

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
const monitorGraceMs = 5000;
/** Reported when a monitor was killed and took the exit code with it. */
const unknownExit = 255;

/** Containers through an OCI runtime, each with a conmon that keeps its streams, log and exit code without the engine. */
class OciDriver implements Driver {
  readonly name = "oci";
  readonly isolation = "container";
  readonly #options: OciDriverOptions;
  readonly #host: Host;
  readonly #choice: RuntimeChoice;
  readonly #facts: StaticFacts;
  readonly #filters: CompiledFilters;
  readonly #exits = new Map<string, Promise<TaskExit>>();
  readonly #hubs = new Map<string, Promise<AttachHub>>();
  readonly #execs = new Set<string>();

  constructor(options: OciDriverOptions, choice: RuntimeChoice) {
    this.#options = options;
    this.#host = options.host;
    this.#choice = choice;
    this.#facts = staticFacts(options.host);
    this.#filters = new CompiledFilters(options.host);
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

  async prepare(ctx: OpContext, request: PrepareRequest): Promise<{ handle: DriverHandle; pid: number }> {
    const monitors = this.#monitors();
    const { id, dir } = request;
    const facts = await specFacts(ctx, this.#host, request, this.#facts);
    const spec = runtimeSpec(request, facts);
    const bundle = monitors.runtime.name === "crun" ? await this.#filters.attach(ctx, spec) : spec;
    await using reverter = new Reverter(ctx);
    reverter.add("remove bundle", () => removeDirectory(dir));
    await writeBundle(dir, id, bundle);
    reverter.add("remove container", (undo) => this.#removeContainer(undo, id, request.cgroupPath));
    const { process } = request.spec;
    const { monitor, pid } = await monitorContainer(ctx, monitors, {
      id,
      dir,
      streams: {
        tty: process.tty,
        stdin: process.openStdin,
        keepStdinOpen: !process.stdinOnce || process.tty,
        logPath: request.logPath,
      },
      command: [...process.entrypoint, ...process.cmd][0] ?? "",
    });
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
    const exit = await this.#readExit(task);
    return exit === undefined ? { status: "lost" } : { status: "exited", exit };
  }

  async wait(ctx: OpContext, handle: DriverHandle): Promise<TaskExit> {
    return await orAborted(this.#exitOf(taskOf(handle)), ctx.signal);
  }

  async signal(_ctx: OpContext, handle: DriverHandle, signal: number): Promise<void> {
    const task = taskOf(handle);
    if (!this.#host.processes.signal(task.init, signal)) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
  }

  async pause(ctx: OpContext, handle: DriverHandle): Promise<void> {
    await this.#host.cgroups.freeze(ctx, this.#live(handle).cgroupPath);
  }

  async resume(ctx: OpContext, handle: DriverHandle): Promise<void> {
    await this.#host.cgroups.thaw(ctx, this.#live(handle).cgroupPath);
  }

  async attach(ctx: OpContext, handle: DriverHandle): Promise<TaskIo> {
    const task = taskOf(handle);
    if (!this.#host.processes.isAlive(task.monitor)) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
    return (await this.#hub(ctx, task)).attach();
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
    this.#execs.add(request.execId);
    try {
      const exec = await startExec(ctx, { ...this.#monitors(), runtime }, task, request);
      void exec.exited.finally(() => this.#execs.delete(request.execId));
      return exec;
    } catch (error) {
      this.#execs.delete(request.execId);
      throw error;
    }
  }

  async usage(_ctx: OpContext, handle: DriverHandle): Promise<ResourceUsage> {
    return await this.#host.cgroups.usage(this.#live(handle).cgroupPath);
  }

  async processes(_ctx: OpContext, handle: DriverHandle): Promise<readonly number[]> {
    return await this.#host.cgroups.processes(this.#live(handle).cgroupPath);
  }

  async update(ctx: OpContext, handle: DriverHandle, resources: ResourceSpec): Promise<void> {
    await this.#host.cgroups.applyLimits(ctx, this.#live(handle).cgroupPath, resources);
  }

  async reopenLog(_ctx: OpContext, handle: DriverHandle): Promise<void> {
    const task = taskOf(handle);
    if (!(await reopenLogFile(task.dir))) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
  }

  async destroy(ctx: OpContext, handle: DriverHandle): Promise<void> {
    const task = taskOf(handle);
    await this.#host.cgroups.kill(ctx, task.cgroupPath);
    this.#host.processes.signal(task.init, SIGKILL);
    // The exit code is read before its file goes, for those who wait for it.
    if (existsSync(task.dir)) await orAborted(this.#exitOf(task), ctx.signal);
    await this.#endMonitor(ctx, task.monitor);
    await this.#removeContainer(ctx, task.id, task.cgroupPath);
    await removeDirectory(task.dir);
    this.#exits.delete(task.id);
  }

  async collect(ctx: OpContext, keep: ReadonlySet<string>): Promise<readonly string[]> {
    const instances = join(this.#options.runRoot, "instances");
    const runtimes = this.#choice.runtime === undefined ? [] : await list(this.#choice.runtime.root);
    const ids = new Set([
      ...(await list(instances)),
      ...runtimes,
      ...(await this.#host.cgroups.children(this.#options.cgroupParent)),
    ]);
    const removed: string[] = [];
    for (const id of ids) {
      const dir = join(instances, id);
      const cgroupPath = `${this.#options.cgroupParent}/${id}`;
      if (keep.has(id)) {
        await endOrphanedExecs(this.#host, { dir, cgroupPath }, this.#execs);
        continue;
      }
      await this.#collectOne(ctx, id, dir, cgroupPath);
      removed.push(id);
    }
    return removed;
  }

  async #collectOne(ctx: OpContext, id: string, dir: string, cgroupPath: string): Promise<void> {
    const pid = Number((await readIfThere(bundleFiles(dir, id).pid)) ?? 0);
    const members = await this.#host.cgroups.processes(cgroupPath);
    const monitor = members.includes(pid) ? await this.#parentOf(pid) : undefined;
    await this.#host.cgroups.kill(ctx, cgroupPath);
    if (monitor !== undefined) await this.#endMonitor(ctx, monitor);
    await this.#removeContainer(ctx, id, cgroupPath);
    await removeDirectory(dir);
    this.#exits.delete(id);
    ctx.log.info({ id }, "removed what a killed engine had left of a container");
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

  #live(handle: DriverHandle): OciTask {
    const task = taskOf(handle);
    if (!this.#host.processes.isAlive(task.init)) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
    return task;
  }

  #exitOf(task: OciTask): Promise<TaskExit> {
    const known = this.#exits.get(task.id);
    if (known !== undefined) return known;
    const exit = this.#awaitExit(task);
    this.#exits.set(task.id, exit);
    return exit;
  }

  async #awaitExit(task: OciTask): Promise<TaskExit> {
    await this.#host.processes.waitGone(task.monitor);
    const exit = await this.#readExit(task);
    if (exit !== undefined) return exit;
    // The monitor was killed: the container goes on without one, its exit code will be nobody's to read.
    await this.#host.processes.waitGone(task.init);
    return { exitCode: unknownExit, oomKilled: await this.#oomKilled(task), finishedAt: new Date().toISOString() };
  }

  async #readExit(task: OciTask): Promise<TaskExit | undefined> {
    const path = bundleFiles(task.dir, task.id).exit;
    const text = await readIfThere(path);
    if (text === undefined) return undefined;
    const { mtime } = await stat(path);
    return { exitCode: Number(text), oomKilled: await this.#oomKilled(task), finishedAt: mtime.toISOString() };
  }

  async #oomKilled(task: OciTask): Promise<boolean> {
    if ((await readIfThere(bundleFiles(task.dir, task.id).oom)) !== undefined) return true;
    return (await this.#host.cgroups.oomKills(task.cgroupPath)) > 0;
  }

  #hub(ctx: OpContext, task: OciTask): Promise<AttachHub> {
    const open = this.#hubs.get(task.id);
    if (open !== undefined) return open;
    const hub = this.#openHub(ctx, task);
    this.#hubs.set(task.id, hub);
    return hub;
  }

  async #openHub(ctx: OpContext, task: OciTask): Promise<AttachHub> {
    try {
      const socket = await this.#host.sockets.connectSeqpacket(ctx, bundleFiles(task.dir, task.id).attach);
      return new AttachHub(socket, {
        stdin: task.openStdin,
        endsStdin: task.stdinOnce,
        onClosed: () => this.#hubs.delete(task.id),
      });
    } catch (error) {
      this.#hubs.delete(task.id);
      if (this.#host.processes.isAlive(task.monitor)) throw error;
      throw driverErrors.TASK_NOT_RUNNING({ id: task.id }, { cause: error });
    }
  }

  /** A monitor ends by itself soon after its container; one that does not is ended. */
  async #endMonitor(ctx: OpContext, monitor: ProcessIdentity): Promise<void> {
    const { processes } = this.#host;
    try {
      await processes.waitGone(monitor, AbortSignal.any([ctx.signal, AbortSignal.timeout(monitorGraceMs)]));
    } catch (error) {
      ctx.log.warn({ pid: monitor.pid, error: messageOf(error) }, "a monitor did not end: killing it");
      processes.signal(monitor, SIGKILL);
      await processes.waitGone(monitor, ctx.signal);
    }
  }

  /** What `runtime delete` would remove: the control group, and the state directory under the root that is ours alone. */
  async #removeContainer(ctx: OpContext, id: string, cgroupPath: string): Promise<void> {
    await this.#host.cgroups.remove(ctx, cgroupPath);
    const { root } = this.#monitors().runtime;
    await removeDirectory(join(root, id));
  }

  async #parentOf(pid: number): Promise<ProcessIdentity | undefined> {
    const status = await readIfThere(`/proc/${pid}/status`);
    const parent = Number(/^PPid:\s*(\d+)$/m.exec(status ?? "")?.[1] ?? 0);
    return parent > 1 ? this.#host.processes.identify(parent) : undefined;
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

async function list(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
