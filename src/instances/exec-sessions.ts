import { newId } from "../base/ids.ts";
import { isBerthError } from "../base/errors.ts";
import { background, type OpContext } from "../base/op-context.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import { ClientSession } from "./attach-session.ts";
import type { ExecRequest, ExecTask, TerminalSize } from "./driver.ts";
import { completeEnvironment } from "./environment.ts";
import { instanceErrors } from "./errors.ts";
import type { AttachSession, ExecSpec, ExecState } from "./instance-service.ts";
import { withLinkEnvironment } from "./link-environment.ts";
import { driverOf, type Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";
import { invalid } from "./validate/invalid.ts";

/** As long as Docker keeps what has ended, for `inspect`. */
const keptAfterEndMs = 5 * 60_000;

interface Session {
  state: ExecState;
  task: ExecTask | undefined;
  endedAtMs: number | undefined;
}

/** Further processes in running instances. In memory: like Docker's, they are forgotten when the engine ends. */
export class ExecSessions {
  readonly #parts: Pick<Parts, "records" | "drivers" | "publish" | "clock" | "log" | "background">;
  readonly #sessions = new Map<string, Session>();

  constructor(parts: Pick<Parts, "records" | "drivers" | "publish" | "clock" | "log" | "background">) {
    this.#parts = parts;
  }

  create(nameOrId: string, spec: ExecSpec): string {
    const record = resolveInstance(this.#parts.records, nameOrId);
    requireExecutable(record, nameOrId);
    const [command] = spec.argv;
    if (command === undefined || command === "") throw invalid("No exec command specified");
    if (spec.workingDir !== "" && !spec.workingDir.startsWith("/")) {
      throw invalid(`the working directory '${spec.workingDir}' is invalid, it needs to be an absolute path`);
    }
    for (const variable of spec.env) {
      if (variable === "" || variable.startsWith("=")) throw invalid(`invalid environment variable: ${variable}`);
    }
    this.#dropOld();
    const id = newId();
    this.#sessions.set(id, {
      state: { id, instanceId: record.id, spec, running: false, exitCode: null, pid: 0 },
      task: undefined,
      endedAtMs: undefined,
    });
    driverOf(this.#parts, record.spec).expectStart();
    this.#parts.publish(record, `exec_create: ${spec.argv.join(" ")}`, { execID: id });
    return id;
  }

  /** Undefined when `detach`ed. The session ends with the process's output; {@link inspect} then has its exit code. */
  async start(
    ctx: OpContext,
    execId: string,
    options: { readonly detach: boolean; readonly tty?: boolean; readonly terminal?: TerminalSize },
  ): Promise<AttachSession | undefined> {
    const session = this.#require(execId);
    const { spec } = session.state;
    const task = await this.#run(ctx, session, {
      tty: options.tty ?? spec.tty,
      ...(options.terminal === undefined ? {} : { terminal: options.terminal }),
      stdin: spec.attachStdin && !options.detach,
      detached: options.detach,
    });
    if (options.detach) {
      task.io.detach();
      return undefined;
    }
    const client = new ClientSession({
      tty: options.tty ?? spec.tty,
      stdin: spec.attachStdin,
      stdout: spec.attachStdout,
      stderr: spec.attachStderr,
      closesStdin: true,
      onLeave: (byDetachKeys) => {
        const record = this.#parts.records.get(session.state.instanceId);
        if (byDetachKeys && record !== undefined) this.#parts.publish(record, "exec_detach", { execID: execId });
      },
    });
    client.connect(task.io, task.exited);
    return client;
  }

  /** Runs a command of the engine's own (a health check) to its end or `signal`, with at most `maxBytes` of its output. */
  async capture(
    nameOrId: string,
    spec: ExecSpec,
    options: { readonly maxBytes: number; readonly signal: AbortSignal },
  ): Promise<{ readonly exitCode: number; readonly output: string }> {
    const execId = this.create(nameOrId, spec);
    const session = this.#require(execId);
    const task = await this.#run(background(this.#parts.log), session, {
      tty: false,
      stdin: false,
      detached: false,
    });
    const kill = () => void task.signal(9).catch(() => {});
    options.signal.addEventListener("abort", kill, { once: true });
    if (options.signal.aborted) kill();
    const output = collect(task.io.output, options.maxBytes);
    try {
      const exitCode = await task.exited;
      return { exitCode, output: await output };
    } finally {
      options.signal.removeEventListener("abort", kill);
      this.#sessions.delete(execId);
    }
  }

  async resize(execId: string, size: TerminalSize): Promise<void> {
    const { task, state } = this.#require(execId);
    if (task === undefined || !state.running) throw instanceErrors.EXEC_NOT_RUNNING({ id: execId });
    await task.resize(size);
  }

  inspect(execId: string): ExecState {
    return this.#require(execId).state;
  }

  /** Ids of those that run in an instance or wait to be started there. */
  of(instanceId: string): readonly string[] {
    return [...this.#sessions.values()]
      .filter(({ state, endedAtMs }) => state.instanceId === instanceId && endedAtMs === undefined)
      .map(({ state }) => state.id);
  }

  forgetInstance(instanceId: string): void {
    for (const { state } of this.#sessions.values()) {
      if (state.instanceId === instanceId) this.#sessions.delete(state.id);
    }
  }

  async #run(
    ctx: OpContext,
    session: Session,
    options: Pick<ExecRequest, "tty" | "stdin" | "detached" | "terminal">,
  ): Promise<ExecTask> {
    const { id, instanceId, spec, running, exitCode } = session.state;
    if (running || exitCode !== null) throw instanceErrors.EXEC_ALREADY_RUN({ id, running });
    const record = this.#parts.records.require(instanceId);
    const handle = requireExecutable(record, record.id);
    session.state = { ...session.state, running: true };
    this.#parts.publish(record, `exec_start: ${spec.argv.join(" ")}`, { execID: id });
    try {
      const task = await driverOf(this.#parts, record.spec).exec(ctx, handle, {
        execId: id,
        argv: spec.argv,
        env: completeEnvironment(withLinkEnvironment(record, this.#parts.records), record.spec.hostname, {
          tty: options.tty,
          additions: spec.env,
        }),
        user: spec.user === "" ? record.spec.process.user : spec.user,
        groupAdd: record.spec.process.groupAdd,
        workingDir: spec.workingDir === "" ? record.spec.process.workingDir : spec.workingDir,
        tty: options.tty,
        stdin: options.stdin,
        privileged: spec.privileged,
        detached: options.detached,
        ...(options.terminal === undefined ? {} : { terminal: options.terminal }),
      });
      session.task = task;
      session.state = { ...session.state, pid: task.pid };
      this.#parts.background.watch(`exec ${id}`, task.exited, (code) => this.#ended(session, code));
      return task;
    } catch (error) {
      if (isBerthError(error)) session.state = { ...session.state, failure: error };
      this.#ended(session, isBerthError(error, "COMMAND_NOT_FOUND") ? 127 : 126);
      throw error;
    }
  }

  #ended(session: Session, exitCode: number): void {
    session.state = { ...session.state, running: false, exitCode, pid: 0 };
    session.task = undefined;
    session.endedAtMs = this.#parts.clock.now();
    const record = this.#parts.records.get(session.state.instanceId);
    if (record === undefined) return;
    this.#parts.publish(record, "exec_die", { execID: session.state.id, exitCode: String(exitCode) });
  }

  #require(execId: string): Session {
    const session = this.#sessions.get(execId);
    if (session === undefined) throw instanceErrors.EXEC_NOT_FOUND({ id: execId });
    return session;
  }

  #dropOld(): void {
    const before = this.#parts.clock.now() - keptAfterEndMs;
    for (const { state, endedAtMs } of this.#sessions.values()) {
      if (endedAtMs !== undefined && endedAtMs < before) this.#sessions.delete(state.id);
    }
  }
}

/** The handle of an instance in which a command can be run now; Docker's refusals otherwise. */
function requireExecutable(record: InstanceRecord, calledName: string) {
  const { status, handle } = record.state;
  if (status === "paused") throw instanceErrors.EXEC_PAUSED({ name: calledName });
  if (status === "restarting") throw instanceErrors.RESTARTING({ id: record.id });
  if (status !== "running" || handle === null) throw instanceErrors.NOT_RUNNING({ id: record.id });
  return handle;
}

async function collect(output: ExecTask["io"]["output"], maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const frame of output) {
    const { data } = frame as { readonly data: Uint8Array };
    if (size < maxBytes) chunks.push(data.subarray(0, maxBytes - size));
    size += data.byteLength;
  }
  const text = Buffer.concat(chunks).toString("utf8");
  return size > maxBytes ? `${text}...` : text;
}
