import { closeSync, openSync, writeSync } from "node:fs";
import type { OpContext } from "../../base/op-context.ts";
import type { DriverHandle, Isolation } from "../../schema/instance.ts";
import { noUsage, type ResourceSpec, type ResourceUsage } from "../../schema/resources.ts";
import type {
  Driver,
  DriverFingerprint,
  DriverInside,
  DriverNetworks,
  ExecRequest,
  ExecTask,
  OutputFrame,
  PrepareRequest,
  Recovered,
  TaskExit,
  TaskIo,
  TerminalSize,
} from "../driver.ts";
import { driverErrors } from "../driver-errors.ts";
import { FakeProcess, type FakeProgram } from "./fake-process.ts";
import { standardPrograms } from "./fake-programs.ts";

/**
 * The machine that fake tasks run on. It outlives a {@link FakeDriver}: give it to a second one to act an engine's restart.
 * Tests control tasks through {@link FakeMachine.task}.
 */
export class FakeMachine {
  /** By argv[0]; others are `COMMAND_NOT_FOUND`. Add what a test needs (health checks, build steps). */
  readonly programs: Map<string, FakeProgram> = standardPrograms();
  readonly tasks = new Map<string, FakeTask>();
  #lastPid = 1000;

  /** The task with this instance id; throws when there is none. */
  task(id: string): FakeTask {
    const task = this.tasks.get(id);
    if (task === undefined) throw new Error(`no fake task ${id}`);
    return task;
  }

  nextPid(): number {
    return ++this.#lastPid;
  }

  /** Everything that ran is gone without a trace. */
  reboot(): void {
    for (const task of this.tasks.values()) task.main.exit(137);
    this.tasks.clear();
  }
}

/** One instance on a {@link FakeMachine}. */
export class FakeTask {
  readonly request: PrepareRequest;
  readonly main: FakeProcess;
  readonly execs = new Map<string, { readonly request: ExecRequest; readonly process: FakeProcess }>();
  phase: "prepared" | "running" | "paused" | "exited" = "prepared";
  resources: ResourceSpec;
  usage: ResourceUsage = idleUsage;
  readonly exited: Promise<TaskExit>;
  exit: TaskExit | undefined;
  #oomKilled = false;
  #error: string | undefined;
  #log: number | undefined;

  constructor(request: PrepareRequest, pid: number) {
    this.request = request;
    this.resources = request.spec.resources;
    const { process } = request.spec;
    this.main = new FakeProcess({
      pid,
      argv: [...process.entrypoint, ...process.cmd],
      env: process.env,
      tty: process.tty,
      openStdin: process.openStdin,
      closeStdinWithClient: process.stdinOnce,
      onOutput: (frame) => this.#appendLog(frame),
    });
    this.reopenLog();
    this.exited = this.main.exited.then((exitCode) => this.#end(exitCode));
  }

  /** Output of the main process, as if it had written it. */
  write(stream: OutputFrame["stream"], text: string): void {
    this.main.write(stream, text);
  }

  /** Ends the main process. */
  finish(exitCode: number, options: { readonly oomKilled?: boolean; readonly error?: string } = {}): void {
    this.#oomKilled = options.oomKilled ?? false;
    this.#error = options.error;
    this.main.exit(exitCode);
  }

  reopenLog(): void {
    this.closeLog();
    if (this.request.logPath !== "") this.#log = openSync(this.request.logPath, "a", 0o600);
  }

  closeLog(): void {
    if (this.#log !== undefined) closeSync(this.#log);
    this.#log = undefined;
  }

  #end(exitCode: number): TaskExit {
    for (const { process } of this.execs.values()) process.exit(137);
    this.closeLog();
    this.phase = "exited";
    const error = this.#error === undefined ? {} : { error: this.#error };
    this.exit = { exitCode, oomKilled: this.#oomKilled, ...error, finishedAt: new Date().toISOString() };
    return this.exit;
  }

  #appendLog(frame: OutputFrame): void {
    if (this.#log === undefined) return;
    const text = Buffer.from(frame.data).toString();
    const time = new Date().toISOString().replace("Z", "000000+00:00");
    for (const line of text.split(/(?<=\n)/)) {
      const whole = line.endsWith("\n");
      writeSync(this.#log, `${time} ${frame.stream} ${whole ? "F" : "P"} ${whole ? line : `${line}\n`}`);
    }
  }
}

/** A driver without a kernel: its tasks are objects on a {@link FakeMachine}. */
export class FakeDriver implements Driver {
  readonly name = "fake";
  readonly isolation: Isolation;
  readonly hardware: boolean = false;
  readonly inside: DriverInside | undefined;
  readonly networks?: DriverNetworks;
  readonly machine: FakeMachine;
  /** Names of the methods called, in order, with the instance's id: "prepare 1a2b". */
  readonly calls: string[] = [];
  readonly #failures = new Map<string, Error>();
  #hangs: PromiseWithResolvers<void> | undefined;

  /** With `inside` its instances are machines, of which the host sees no files. */
  constructor(machine: FakeMachine = new FakeMachine(), inside?: DriverInside, networks?: DriverNetworks) {
    this.machine = machine;
    this.inside = inside;
    if (networks !== undefined) this.networks = networks;
    this.isolation = inside === undefined ? "container" : "vm";
  }

  /** The next call of `method` throws `error`. */
  failNext(method: keyof Driver, error: Error): void {
    this.#failures.set(method, error);
  }

  async fingerprint(): Promise<DriverFingerprint> {
    return { available: true, reasons: [], versions: { fake: "1" }, runtime: "" };
  }

  refuse(): void {}

  expectStart(): void {}

  async prepare(_ctx: OpContext, request: PrepareRequest): Promise<{ handle: DriverHandle; pid: number }> {
    this.#enter("prepare", request.id);
    const { process } = request.spec;
    if (request.resting !== true) this.#program([...process.entrypoint, ...process.cmd], "create");
    if (this.machine.tasks.has(request.id)) {
      throw driverErrors.RUNTIME_FAILED({ id: request.id, step: "create", reason: "it exists already" });
    }
    const task = new FakeTask(request, this.machine.nextPid());
    this.machine.tasks.set(request.id, task);
    return { handle: { driver: this.name, version: 1, state: { id: request.id } }, pid: task.main.pid };
  }

  /** The next start takes until it is given up, as that of a machine that does not come up. */
  hangNextStart(): Promise<void> {
    const reached = Promise.withResolvers<void>();
    this.#hangs = reached;
    return reached.promise;
  }

  async start(ctx: OpContext, handle: DriverHandle): Promise<void> {
    const task = this.#live("start", handle);
    const hangs = this.#hangs;
    this.#hangs = undefined;
    hangs?.resolve();
    if (hangs !== undefined) await aborted(ctx.signal);
    task.phase = "running";
    if (task.request.resting !== true) task.main.run(this.#program(task.main.argv, "create"));
  }

  async recover(_ctx: OpContext, handle: DriverHandle): Promise<Recovered> {
    const id = this.#enter("recover", idOf(handle));
    const task = this.machine.tasks.get(id);
    if (task === undefined) return { status: "lost" };
    if (task.exit !== undefined) return { status: "exited", exit: task.exit };
    if (task.phase === "prepared") return { status: "prepared" };
    return { status: task.phase === "paused" ? "paused" : "running", pid: task.main.pid };
  }

  async wait(_ctx: OpContext, handle: DriverHandle): Promise<TaskExit> {
    const id = this.#enter("wait", idOf(handle));
    const task = this.machine.tasks.get(id);
    if (task === undefined) throw driverErrors.TASK_NOT_RUNNING({ id });
    return await task.exited;
  }

  async signal(_ctx: OpContext, handle: DriverHandle, signal: number): Promise<void> {
    this.#live("signal", handle).main.signal(signal);
  }

  async pause(_ctx: OpContext, handle: DriverHandle): Promise<void> {
    this.#live("pause", handle).phase = "paused";
  }

  async resume(_ctx: OpContext, handle: DriverHandle): Promise<void> {
    this.#live("resume", handle).phase = "running";
  }

  async attach(_ctx: OpContext, handle: DriverHandle): Promise<TaskIo> {
    return this.#live("attach", handle).main.attach();
  }

  async resize(_ctx: OpContext, handle: DriverHandle, size: TerminalSize): Promise<void> {
    const task = this.#live("resize", handle);
    if (!task.main.tty) throw driverErrors.TASK_HAS_NO_TTY({ id: task.request.id });
    task.main.size = size;
  }

  async exec(_ctx: OpContext, handle: DriverHandle, request: ExecRequest): Promise<ExecTask> {
    const task = this.#live("exec", handle);
    const { id } = task.request;
    if (task.phase === "paused") throw driverErrors.TASK_PAUSED({ id });
    if (task.phase !== "running") throw driverErrors.TASK_NOT_RUNNING({ id });
    const program = this.#program(request.argv, "exec");
    const process = new FakeProcess({
      pid: this.machine.nextPid(),
      argv: request.argv,
      env: request.env,
      tty: request.tty,
      openStdin: request.stdin,
      closeStdinWithClient: true,
    });
    task.execs.set(request.execId, { request, process });
    const io = process.attach();
    process.run(program);
    return {
      pid: process.pid,
      io,
      exited: process.exited,
      resize: async (size) => {
        process.size = size;
      },
      signal: async (signal) => process.signal(signal),
    };
  }

  async usage(_ctx: OpContext, handle: DriverHandle): Promise<ResourceUsage> {
    return this.#live("usage", handle).usage;
  }

  async processes(_ctx: OpContext, handle: DriverHandle): Promise<readonly number[]> {
    const task = this.#live("processes", handle);
    const execs = [...task.execs.values()].filter(({ process }) => process.alive).map(({ process }) => process.pid);
    return [task.main.pid, ...execs];
  }

  async update(_ctx: OpContext, handle: DriverHandle, resources: ResourceSpec): Promise<void> {
    this.#live("update", handle).resources = resources;
  }

  async reopenLog(_ctx: OpContext, handle: DriverHandle): Promise<void> {
    this.#live("reopenLog", handle).reopenLog();
  }

  async destroy(_ctx: OpContext, handle: DriverHandle): Promise<void> {
    const id = this.#enter("destroy", idOf(handle));
    const task = this.machine.tasks.get(id);
    if (task === undefined) return;
    task.main.exit(137);
    await task.exited;
    this.machine.tasks.delete(id);
  }

  async collect(_ctx: OpContext, keep: ReadonlySet<string>): Promise<readonly string[]> {
    this.#enter("collect", "");
    const stray = [...this.machine.tasks.keys()].filter((id) => !keep.has(id));
    for (const id of stray) {
      this.machine.task(id).main.exit(137);
      this.machine.tasks.delete(id);
    }
    return stray;
  }

  #live(method: keyof Driver, handle: DriverHandle): FakeTask {
    const id = this.#enter(method, idOf(handle));
    const task = this.machine.tasks.get(id);
    if (task === undefined || task.phase === "exited") throw driverErrors.TASK_NOT_RUNNING({ id });
    return task;
  }

  #enter(method: keyof Driver, id: string): string {
    this.calls.push(`${method} ${id}`);
    const failure = this.#failures.get(method);
    this.#failures.delete(method);
    if (failure !== undefined) throw failure;
    return id;
  }

  #program(argv: readonly string[], step: "create" | "exec"): FakeProgram {
    const command = argv[0] ?? "";
    const program = this.machine.programs.get(command);
    if (program === undefined) {
      const reason = `unable to start container process: exec: "${command}": executable file not found in $PATH`;
      throw driverErrors.COMMAND_NOT_FOUND({ step, command, reason });
    }
    return program;
  }
}

async function aborted(signal: AbortSignal): Promise<never> {
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  throw signal.reason;
}

function idOf(handle: DriverHandle): string {
  const { id } = handle.state;
  if (handle.driver !== "fake" || typeof id !== "string") {
    throw driverErrors.HANDLE_UNKNOWN({ driver: "fake", reason: `it is of driver "${handle.driver}"` });
  }
  return id;
}

const idleUsage: ResourceUsage = { ...noUsage, pids: 1 };
