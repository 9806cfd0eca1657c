import type { OpContext } from "../../base/op-context.ts";
import { hostErrors } from "../errors.ts";
import type { Child, ExitStatus, ProcessIdentity, Processes, RunRequest, RunResult, SpawnRequest } from "../host.ts";
import { ChildFds } from "../process/child-fds.ts";

/** What a faked tool answers; what is left out is 0 and "". */
export type RunScript = (request: RunRequest) => Partial<RunResult> | Promise<Partial<RunResult>>;

/** A process that only exists in the test: it ends when the test says so, or on a signal. */
export class FakeProcess {
  readonly identity: ProcessIdentity;
  readonly request: SpawnRequest | undefined;
  /** The child's ends of its descriptors, for the test to read and write; closed when it ends. */
  readonly fds: ReadonlyMap<number, number | null>;
  readonly signals: number[] = [];
  /** Signals that it survives (SIGKILL never). */
  readonly ignores = new Set<number>();
  readonly exited: Promise<ExitStatus>;
  readonly #resolve: (status: ExitStatus) => void;
  readonly #ownedFds: ChildFds | undefined;
  #alive = true;

  constructor(identity: ProcessIdentity, request: SpawnRequest | undefined, fds: ChildFds | undefined) {
    this.identity = identity;
    this.request = request;
    this.fds = fds?.sources ?? new Map();
    this.#ownedFds = fds;
    const { promise, resolve } = Promise.withResolvers<ExitStatus>();
    this.exited = promise;
    this.#resolve = resolve;
  }

  get alive(): boolean {
    return this.#alive;
  }

  exit(code: number): void {
    this.#end({ code, signal: 0 });
  }

  receive(signal: number): void {
    this.signals.push(signal);
    if (signal !== 0 && (signal === 9 || !this.ignores.has(signal))) this.#end({ code: 0, signal });
  }

  #end(status: ExitStatus): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#ownedFds?.[Symbol.dispose]();
    this.#resolve(status);
  }
}

/** Records what is started. Programs exist once {@link script} or {@link install} named them. */
export class FakeProcesses implements Processes {
  readonly spawned: FakeProcess[] = [];
  readonly runs: RunRequest[] = [];
  readonly #programs = new Map<string, RunScript>();
  readonly #processes = new Map<number, FakeProcess>();
  readonly #onSpawn: ((process: FakeProcess) => void)[] = [];
  #nextPid = 1000;

  /** Makes `program` (by its last path component) answer `run` as the script says. */
  script(program: string, script: RunScript): void {
    this.#programs.set(program, script);
  }

  /** Makes programs that exist; `run` of one answers code 0 and no output. */
  install(...programs: readonly string[]): void {
    for (const program of programs) this.#programs.set(program, () => ({}));
  }

  uninstall(program: string): void {
    this.#programs.delete(program);
  }

  /** Called with each spawned process, before `spawn` resolves. */
  onSpawn(handler: (process: FakeProcess) => void): void {
    this.#onSpawn.push(handler);
  }

  /** A process that is there without having been spawned here: a monitor of an earlier engine. */
  addRunning(options: { pid?: number; argv?: readonly [string, ...string[]] } = {}): FakeProcess {
    const { pid = this.#nextPid++, argv } = options;
    return this.#add(pid, argv === undefined ? undefined : { argv, env: {} }, undefined);
  }

  async spawn(ctx: OpContext, request: SpawnRequest): Promise<Child> {
    ctx.signal.throwIfAborted();
    this.#require(request.argv[0]);
    const fds = await ChildFds.open(request.fds ?? {});
    const pipes = fds.release();
    const process = this.#add(this.#nextPid++, request, fds);
    this.spawned.push(process);
    for (const handler of this.#onSpawn) handler(process);
    return { identity: process.identity, pipes, exited: process.exited };
  }

  async run(ctx: OpContext, request: RunRequest): Promise<RunResult> {
    ctx.signal.throwIfAborted();
    const script = this.#require(request.argv[0]);
    this.runs.push(request);
    return { code: 0, stdout: "", stderr: "", ...(await script(request)) };
  }

  identify(pid: number): ProcessIdentity | undefined {
    const process = this.#processes.get(pid);
    return process?.alive === true ? process.identity : undefined;
  }

  sessionOf(leader: number): readonly ProcessIdentity[] {
    const identity = this.identify(leader);
    return identity === undefined ? [] : [identity];
  }

  withArgument(argument: string): readonly ProcessIdentity[] {
    return [...this.#processes.values()]
      .filter(({ alive, request }) => alive && request?.argv.includes(argument) === true)
      .map(({ identity }) => identity);
  }

  isAlive(identity: ProcessIdentity): boolean {
    return this.identify(identity.pid)?.startTime === identity.startTime;
  }

  isEnding(identity: ProcessIdentity): boolean {
    return !this.isAlive(identity);
  }

  signal(identity: ProcessIdentity, signal: number): boolean {
    if (!this.isAlive(identity)) return false;
    this.#processes.get(identity.pid)?.receive(signal);
    return true;
  }

  async waitGone(identity: ProcessIdentity, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (!this.isAlive(identity)) return;
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await Promise.race([this.#processes.get(identity.pid)?.exited, aborted.promise]);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  which(program: string): string | undefined {
    return this.#programs.has(nameOf(program)) ? (program.includes("/") ? program : `/usr/bin/${program}`) : undefined;
  }

  sealed(program: string): string {
    return program;
  }

  #require(program: string): RunScript {
    const script = this.#programs.get(nameOf(program));
    if (script === undefined) throw hostErrors.PROGRAM_NOT_FOUND({ program, path: "(fake)" });
    return script;
  }

  #add(pid: number, request: SpawnRequest | undefined, fds: ChildFds | undefined): FakeProcess {
    const process = new FakeProcess({ pid, startTime: pid * 10 }, request, fds);
    this.#processes.set(pid, process);
    return process;
  }
}

function nameOf(program: string): string {
  return program.slice(program.lastIndexOf("/") + 1);
}
