/** Instances whose processes are functions of their command: `cat`, `echo`, `sleep`, `sh`, `flood`. */
import { PassThrough, Readable, type Writable } from "node:stream";
import { newId } from "../../../base/ids.ts";
import type { PortSpec } from "../../../schema/network.ts";
import type { OpContext } from "../../../base/op-context.ts";
import { instanceErrors } from "../../../instances/errors.ts";
import { driverErrors } from "../../../instances/driver-errors.ts";
import { ClientSession } from "../../../instances/attach-session.ts";
import type { OutputFrame, TaskIo, TerminalSize } from "../../../instances/driver.ts";
import type {
  AttachOptions,
  AttachSession,
  ExecSpec,
  ExecState,
  InstanceRequest,
  InstanceService,
  LogLine,
  LogOptions,
  PathStat,
  WaitCondition,
  WaitResult,
} from "../../../instances/instance-service.ts";
import type { InstanceRecord, InstanceState } from "../../../schema/instance.ts";
import type { EventBus } from "../../../state/events.ts";
import type { FakeImages } from "./fake-images.ts";

interface Running {
  readonly process: FakeProcess;
  readonly exited: PromiseWithResolvers<WaitResult>;
  readonly sessions: ClientSession[];
  readonly log: LogLine[];
}

interface Exec {
  state: ExecState;
  process: FakeProcess | undefined;
}

export class FakeInstances implements InstanceService {
  readonly requests: InstanceRequest[] = [];
  readonly resizes: TerminalSize[] = [];
  readonly updates: object[] = [];
  /** Tars that were put into instances. */
  readonly copied: Buffer[] = [];
  readonly #images: FakeImages;
  readonly #events: EventBus;
  readonly #records = new Map<string, InstanceRecord>();
  readonly #running = new Map<string, Running>();
  readonly #execs = new Map<string, Exec>();
  #lastCreation = 0;

  constructor(images: FakeImages, events: EventBus) {
    this.#images = images;
    this.#events = events;
  }

  async create(_ctx: OpContext, request: InstanceRequest) {
    this.requests.push(request);
    // No two at once: which came before the other is what clients ask.
    this.#lastCreation = Math.max(Date.now(), this.#lastCreation + 1);
    const image = this.#images.resolve(request.image);
    const id = newId();
    const record: InstanceRecord = {
      id,
      name: request.name === "" ? `fake_${id.slice(0, 6)}` : request.name,
      createdAt: new Date(this.#lastCreation).toISOString(),
      imageId: image.id,
      chainId: "",
      spec: {
        ...request,
        process: {
          ...request.process,
          entrypoint: [...(request.process.entrypoint ?? image.config.config?.Entrypoint ?? [])],
          cmd: [...(request.process.cmd ?? image.config.config?.Cmd ?? [])],
        },
      },
      state: stopped("created", 0),
    };
    if ([...this.#records.values()].some(({ name }) => name === record.name)) {
      throw instanceErrors.REQUEST_INVALID({ reason: `Conflict. The container name "/${record.name}" is in use` });
    }
    this.#records.set(id, record);
    this.#running.set(id, this.#fresh(record));
    this.#publish(record, "create");
    return { record, warnings: [] };
  }

  resolve(nameOrId: string): InstanceRecord {
    const found = [...this.#records.values()].find(
      ({ id, name }) => name === nameOrId || id === nameOrId || (nameOrId !== "" && id.startsWith(nameOrId)),
    );
    if (found === undefined) throw instanceErrors.INSTANCE_NOT_FOUND({ name: nameOrId });
    return found;
  }

  list(): readonly InstanceRecord[] {
    return [...this.#records.values()].toReversed();
  }

  async start(_ctx: OpContext, nameOrId: string) {
    const record = this.resolve(nameOrId);
    if (record.state.status === "running") return { started: false };
    const run = this.#run(record.id);
    this.#setState(record.id, { ...stopped("running", 0), pid: 4242, startedAt: new Date().toISOString() });
    this.#publish(record, "start");
    for (const session of run.sessions) session.connect(run.process.attach());
    run.process.run([...record.spec.process.entrypoint, ...record.spec.process.cmd], (code) =>
      this.#exit(record.id, code),
    );
    return { started: true };
  }

  async stop(_ctx: OpContext, nameOrId: string) {
    const record = this.resolve(nameOrId);
    if (record.state.status !== "running") return { stopped: false };
    this.#run(record.id).process.end(143);
    return { stopped: true };
  }

  async restart(ctx: OpContext, nameOrId: string) {
    await this.stop(ctx, nameOrId);
    await this.start(ctx, nameOrId);
  }

  async kill(_ctx: OpContext, nameOrId: string, signal: string) {
    const record = this.resolve(nameOrId);
    if (record.state.status !== "running") {
      throw instanceErrors.KILL_NOT_RUNNING({ name: nameOrId, id: record.id });
    }
    if (signal === "SIGKILL" || signal === "KILL" || signal === "9") this.#run(record.id).process.end(137);
  }

  async pause(_ctx: OpContext, nameOrId: string) {
    this.#patch(nameOrId, { status: "paused" });
  }

  async resume(_ctx: OpContext, nameOrId: string) {
    this.#patch(nameOrId, { status: "running" });
  }

  async rename(_ctx: OpContext, nameOrId: string, name: string) {
    const record = this.resolve(nameOrId);
    this.#records.set(record.id, { ...record, name });
  }

  async remove(_ctx: OpContext, nameOrId: string, options: { readonly force: boolean }) {
    const record = this.resolve(nameOrId);
    if (record.state.status === "running") {
      if (!options.force) throw instanceErrors.REMOVE_RUNNING({ name: `/${record.name}`, status: "running" });
      this.#run(record.id).process.end(137);
    }
    this.#records.delete(record.id);
    this.#publish(record, "destroy");
  }

  async prune() {
    const deleted = this.list().filter(({ state }) => state.status !== "running");
    for (const { id } of deleted) this.#records.delete(id);
    return { deleted: deleted.map(({ id }) => id), reclaimedBytes: 0 };
  }

  async wait(_ctx: OpContext, nameOrId: string, condition: WaitCondition) {
    const record = this.resolve(nameOrId);
    const running = record.state.status === "running";
    if (!running && condition === "not-running") {
      return { done: Promise.resolve({ exitCode: record.state.exitCode, error: "" }) };
    }
    return { done: this.#run(record.id).exited.promise };
  }

  async logs(_ctx: OpContext, nameOrId: string, options: LogOptions): Promise<Readable> {
    const record = this.resolve(nameOrId);
    const { log, exited } = this.#run(record.id);
    const running = record.state.status === "running";
    const wanted = (line: LogLine) => (line.stream === "stdout" ? options.stdout : options.stderr);
    const lines = log.filter(wanted).slice(options.tail === undefined ? 0 : -options.tail || log.length);
    async function* follow() {
      yield* lines;
      let sent = log.length;
      const over = exited.promise.then(() => true);
      if (!options.follow || !running) return;
      for (;;) {
        const ended = await Promise.race([over, new Promise<false>((resolve) => setTimeout(() => resolve(false), 10))]);
        for (; sent < log.length; sent += 1) {
          const line = log[sent];
          if (line !== undefined && wanted(line)) yield line;
        }
        if (ended) return;
      }
    }
    return Readable.from(follow(), { objectMode: true });
  }

  async attach(_ctx: OpContext, nameOrId: string, options: AttachOptions): Promise<AttachSession> {
    const record = this.resolve(nameOrId);
    const run = this.#run(record.id);
    const { tty, stdinOnce } = record.spec.process;
    const session = new ClientSession({ ...options, tty, closesStdin: stdinOnce && !tty });
    if (options.logs) session.replay(run.log.map(({ stream, data }) => ({ stream, data })));
    if (!options.stream) session.end();
    else if (record.state.status === "running") session.connect(run.process.attach());
    else run.sessions.push(session);
    return session;
  }

  async resize(_ctx: OpContext, nameOrId: string, size: TerminalSize) {
    this.resolve(nameOrId);
    this.resizes.push(size);
  }

  async execCreate(_ctx: OpContext, nameOrId: string, spec: ExecSpec) {
    const record = this.resolve(nameOrId);
    if (record.state.status !== "running") throw instanceErrors.NOT_RUNNING({ id: record.id });
    const id = newId();
    const state = { id, instanceId: record.id, spec, running: false, exitCode: null, pid: 0 };
    this.#execs.set(id, { state, process: undefined });
    return id;
  }

  async execStart(_ctx: OpContext, execId: string, options: { readonly detach: boolean }) {
    const exec = this.#exec(execId);
    const { spec } = exec.state;
    if (spec.argv[0] === "missing") {
      exec.state = { ...exec.state, exitCode: 127 };
      throw driverErrors.COMMAND_NOT_FOUND({
        step: "exec",
        command: "missing",
        reason: 'exec: "missing": executable file not found in $PATH',
      });
    }
    const process = new FakeProcess(spec.tty);
    exec.process = process;
    exec.state = { ...exec.state, running: true, pid: 5151 };
    const session = new ClientSession({
      tty: spec.tty,
      stdin: spec.attachStdin,
      stdout: spec.attachStdout,
      stderr: spec.attachStderr,
      closesStdin: !spec.tty,
    });
    session.connect(process.attach());
    process.run(spec.argv, (exitCode) => {
      exec.state = { ...exec.state, running: false, exitCode };
    });
    return options.detach ? undefined : session;
  }

  async execResize(_ctx: OpContext, execId: string, size: TerminalSize) {
    this.#exec(execId);
    this.resizes.push(size);
  }

  execInspect(execId: string): ExecState {
    return this.#exec(execId).state;
  }

  execIds(nameOrId: string): readonly string[] {
    const { id } = this.resolve(nameOrId);
    return [...this.#execs.values()].filter(({ state }) => state.instanceId === id).map(({ state }) => state.id);
  }

  logPath(nameOrId: string): string {
    return `/data/${this.resolve(nameOrId).id}.log`;
  }

  async statPath(_ctx: OpContext, nameOrId: string, path: string): Promise<PathStat> {
    this.resolve(nameOrId);
    if (path.includes("missing")) throw instanceErrors.PATH_NOT_IN_INSTANCE({ path, name: nameOrId });
    return { name: path.slice(1), size: 3, mode: 0o644, mtime: "2026-01-01T00:00:00Z", linkTarget: "" };
  }

  async copyFrom(ctx: OpContext, nameOrId: string, path: string) {
    const stat = await this.statPath(ctx, nameOrId, path);
    return { stat, tar: Readable.from([Buffer.alloc(1024)]) };
  }

  async copyTo(_ctx: OpContext, nameOrId: string, _directory: string, tar: Readable) {
    this.resolve(nameOrId);
    const chunks: Buffer[] = [];
    for await (const chunk of tar) chunks.push(chunk as Buffer);
    this.copied.push(Buffer.concat(chunks));
  }

  async export(_ctx: OpContext, nameOrId: string) {
    this.resolve(nameOrId);
    return Readable.from([Buffer.alloc(2048)]);
  }

  async changes(_ctx: OpContext, nameOrId: string) {
    this.resolve(nameOrId);
    return [
      { kind: "modified", path: "/etc" },
      { kind: "added", path: "/etc/new" },
    ] as const;
  }

  async commit(_ctx: OpContext, nameOrId: string, request: { readonly reference?: string }) {
    this.resolve(nameOrId);
    return this.#images.add(request.reference ?? "committed:latest");
  }

  async update(_ctx: OpContext, nameOrId: string, changes: object) {
    this.resolve(nameOrId);
    this.updates.push(changes);
    return [];
  }

  async processes(_ctx: OpContext, nameOrId: string) {
    this.resolve(nameOrId);
    return { titles: ["UID", "PID", "CMD"], rows: [["root", "4242", "sleep 1"]] };
  }

  async usage(_ctx: OpContext, nameOrId: string) {
    this.resolve(nameOrId);
    const cpu = Math.round(performance.now() * 1_000_000);
    return {
      readAt: new Date().toISOString(),
      resources: {
        cpuTotalNs: cpu,
        cpuUserNs: cpu,
        cpuSystemNs: 0,
        cpuThrottledPeriods: 0,
        cpuThrottledNs: 0,
        memoryBytes: 1_000_000,
        memoryInactiveFileBytes: 0,
        memoryLimitBytes: 2_000_000_000,
        memoryMaxBytes: 1_000_000,
        memoryStat: { total_inactive_file: 0 },
        oomKills: 0,
        pids: 1,
        pidsLimit: 0,
        blkioReadBytes: 0,
        blkioWriteBytes: 0,
      },
      networks: {},
    };
  }

  async diskUsage() {
    return new Map(this.list().map(({ id }) => [id, 5]));
  }

  async size() {
    return { rw: 5, rootFs: 1239 };
  }

  async connect(_ctx: OpContext, nameOrId: string) {
    this.resolve(nameOrId);
  }

  async disconnect(_ctx: OpContext, nameOrId: string) {
    this.resolve(nameOrId);
  }

  async unlink(_ctx: OpContext, nameOrId: string) {
    this.resolve(nameOrId);
  }

  async publish(_ctx: OpContext, nameOrId: string, ports: readonly PortSpec[]) {
    this.resolve(nameOrId);
    return ports.map(({ containerPort, protocol, hostPort }) => ({
      containerPort,
      protocol,
      hostIp: "0.0.0.0",
      hostPort,
    }));
  }

  async usageLines() {
    return [];
  }

  async unpublish(_ctx: OpContext, nameOrId: string) {
    this.resolve(nameOrId);
    return [];
  }

  withRootfs(): Promise<never> {
    return Promise.reject(new Error("the fake has no root file systems"));
  }

  volumeUsers(): readonly string[] {
    return [];
  }

  imageUsers(imageId: string) {
    return this.list()
      .filter((record) => record.imageId === imageId)
      .map(({ id, state }) => ({ instanceId: id, running: state.status === "running" }));
  }

  #fresh(record: InstanceRecord): Running {
    const process = new FakeProcess(record.spec.process.tty);
    const log: LogLine[] = [];
    process.onOutput = ({ stream, data }) => void log.push({ stream, data, time: "2026-01-01T00:00:00.000000000Z" });
    return { process, log, sessions: [], exited: Promise.withResolvers() };
  }

  #exit(id: string, exitCode: number): void {
    const run = this.#run(id);
    const record = this.#records.get(id);
    if (record !== undefined) {
      const finishedAt = new Date().toISOString();
      this.#setState(id, { ...stopped("exited", exitCode), startedAt: record.state.startedAt, finishedAt });
      this.#publish(record, "die", { exitCode: String(exitCode) });
      const next = this.#fresh(record);
      next.log.push(...run.log);
      this.#running.set(id, next);
      if (record.spec.autoRemove) this.#records.delete(id);
    }
    run.exited.resolve({ exitCode, error: "" });
  }

  #patch(nameOrId: string, state: Partial<InstanceState>): void {
    const record = this.resolve(nameOrId);
    this.#setState(record.id, { ...record.state, ...state });
  }

  #setState(id: string, state: InstanceState): void {
    const record = this.#records.get(id);
    if (record !== undefined) this.#records.set(id, { ...record, state });
  }

  #run(id: string): Running {
    const run = this.#running.get(id);
    if (run === undefined) throw instanceErrors.INSTANCE_NOT_FOUND({ name: id });
    return run;
  }

  #exec(id: string): Exec {
    const exec = this.#execs.get(id);
    if (exec === undefined) throw instanceErrors.EXEC_NOT_FOUND({ id });
    return exec;
  }

  #publish(record: InstanceRecord, action: string, attributes: Readonly<Record<string, string>> = {}): void {
    const { image, labels } = record.spec;
    this.#events.publish({
      type: "container",
      action,
      actorId: record.id,
      attributes: { ...labels, ...attributes, image, name: record.name },
    });
  }
}

function stopped(status: InstanceState["status"], exitCode: number): InstanceState {
  return {
    status,
    pid: 0,
    exitCode,
    oomKilled: false,
    error: "",
    startedAt: "",
    finishedAt: "",
    restartCount: 0,
    manuallyStopped: false,
    health: null,
    handle: null,
    endpoints: [],
    ports: [],
  };
}

class FakeProcess {
  onOutput: (frame: OutputFrame) => void = () => {};
  readonly #stdin = new PassThrough();
  readonly #outputs = new Set<PassThrough>();
  #onExit: (code: number) => void = () => {};
  #over = false;
  readonly #tty: boolean;

  constructor(tty: boolean) {
    this.#tty = tty;
  }

  attach(): TaskIo {
    const output = new PassThrough({ objectMode: true });
    this.#outputs.add(output);
    const stdin: Writable = this.#stdin;
    const detach = () => {
      this.#outputs.delete(output);
      output.destroy();
    };
    return { output, stdin, detach };
  }

  run(argv: readonly string[], onExit: (code: number) => void): void {
    this.#onExit = onExit;
    const [program = "", ...words] = argv;
    switch (program) {
      case "echo":
        setTimeout(() => {
          this.#write("stdout", `${words.join(" ")}\n`);
          this.end(0);
        }, 5);
        return;
      case "both":
        setTimeout(() => {
          this.#write("stdout", "out\n");
          this.#write("stderr", "err\n");
          this.end(3);
        }, 5);
        return;
      case "cat":
        this.#stdin.on("data", (data: Buffer) =>
          this.#write("stdout", this.#tty ? data.toString().replaceAll("\r", "\r\n") : data),
        );
        this.#stdin.on("end", () => this.end(0));
        return;
      case "flood":
        this.#flood(Number(words[0] ?? "1"));
        return;
      default:
        // It sleeps until it is stopped.
        return;
    }
  }

  end(code: number): void {
    if (this.#over) return;
    this.#over = true;
    for (const output of this.#outputs) output.end();
    this.#onExit(code);
  }

  /** So many mebibytes, no faster than the slowest reader. */
  async #floodTo(mebibytes: number): Promise<void> {
    const data = Buffer.alloc(65_536, "x");
    for (let count = 0; count < mebibytes * 16; count += 1) {
      for (const output of this.#outputs) {
        if (!output.write({ stream: "stdout", data })) {
          await new Promise<void>((resolve) => {
            output.once("drain", resolve);
            output.once("close", resolve);
          });
        }
      }
    }
    this.end(0);
  }

  #flood(mebibytes: number): void {
    void this.#floodTo(mebibytes);
  }

  #write(stream: "stdout" | "stderr", text: string | Buffer): void {
    const frame: OutputFrame = { stream: this.#tty ? "stdout" : stream, data: Buffer.from(text) };
    this.onOutput(frame);
    for (const output of this.#outputs) output.write(frame);
  }
}
