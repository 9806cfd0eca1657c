/**
 * A client of QEMU's machine protocol (docs/interop/qmp-spec in QEMU's sources): one connection, many commands at a time, events.
 * QEMU executes what a guest has got to it, so that its answers are taken as from a stranger: bounded in size and time.
 */
import type { Socket } from "node:net";
import { messageOf } from "../base/errors.ts";
import { type OpContext, withTimeout } from "../base/op-context.ts";
import { errnoOf } from "../host/errors.ts";
import { failpoints } from "../host/failpoints.ts";
import { CommandError } from "./command-error.ts";
import { qemuErrors } from "./errors.ts";
import { EventStream } from "./event-stream.ts";
import { isJsonObject, type JsonObject, JsonLineReader } from "./json-lines.ts";
import { connectUnix } from "./unix-socket.ts";

export interface QmpEvent {
  /** "SHUTDOWN", "DEVICE_DELETED", "JOB_STATUS_CHANGE"… */
  readonly name: string;
  readonly data: JsonObject;
  /** Milliseconds since the epoch, by QEMU's clock; 0 where it has none. */
  readonly atMs: number;
}

export interface QemuVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
}

interface Pending {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** For the greeting: QEMU serves one client of a monitor after another, so that it may be another's turn. */
const greetingMs = 20_000;
const defaultLimitMs = 20_000;
/** The schema, the longest answer that there is, has 200 KiB. */
const maxLineBytes = 8 * 1024 * 1024;
/** Commands that change nothing. */
const asks = /^(query-|qom-get$|qom-list|qmp_capabilities$)/;

export class QmpClient implements Disposable {
  /** Resolves with why when the connection has ended, whoever ended it. */
  readonly closed: Promise<string>;
  readonly #socket: Socket;
  readonly #reader = new JsonLineReader(maxLineBytes);
  readonly #pending = new Map<number, Pending>();
  readonly #streams = new Set<EventStream>();
  readonly #greeting = Promise.withResolvers<QemuVersion>();
  readonly #closed = Promise.withResolvers<string>();
  #endedBy: string | undefined;
  #nextId = 1;
  #version: QemuVersion = { major: 0, minor: 0, micro: 0 };

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = this.#closed.promise;
    this.#greeting.promise.catch(() => {});
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("error", (error) => this.#end(messageOf(error)));
    socket.on("close", () => this.#end("the connection has ended"));
    if (socket.destroyed) this.#end("the connection has ended");
  }

  /** Connects to the monitor at `path`, past the greeting. `QMP_UNREACHABLE`, `QMP_SILENT`. */
  static async connect(ctx: OpContext, path: string, limitMs = greetingMs): Promise<QmpClient> {
    try {
      return await QmpClient.over(ctx, await connectUnix(ctx, path), limitMs);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      throw qemuErrors.QMP_UNREACHABLE({ socket: path, reason: messageOf(error) }, { cause: error });
    }
  }

  /** The same on a connection that is there; the socket is the client's from here on. */
  static async over(ctx: OpContext, socket: Socket, limitMs = greetingMs): Promise<QmpClient> {
    const client = new QmpClient(socket);
    try {
      client.#version = await client.#bounded(ctx, "its greeting", limitMs, client.#greeting.promise);
      await client.execute(ctx, "qmp_capabilities", {}, limitMs);
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Of the QEMU that runs, which may be older than the one that is installed. */
  get version(): QemuVersion {
    return this.#version;
  }

  get isClosed(): boolean {
    return this.#endedBy !== undefined;
  }

  /**
   * Executes one command and returns what it returned. A refusal is a {@link CommandError} (`QMP_REFUSED`), no answer is `QMP_SILENT`,
   * the end of QEMU or of the connection `QMP_LOST`. A late answer is dropped; the connection stays usable.
   */
  async execute(ctx: OpContext, command: string, args: JsonObject = {}, limitMs = defaultLimitMs): Promise<unknown> {
    ctx.signal.throwIfAborted();
    if (failpoints.on && !asks.test(command)) {
      const failure = () => new CommandError("QMP_REFUSED", command, "GenericError", "failpoint");
      await failpoints.before("qemu.command", command, failure);
    }
    if (this.#endedBy !== undefined) throw qemuErrors.QMP_LOST({ command, reason: this.#endedBy });
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    promise.catch(() => {});
    this.#pending.set(id, { command, resolve, reject });
    try {
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
      return await this.#bounded(ctx, command, limitMs, promise);
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Events from now on. Dispose it (or leave its `for await`) when done. */
  events(): EventStream {
    const stream = new EventStream((ended) => this.#streams.delete(ended));
    this.#streams.add(stream);
    if (this.#endedBy !== undefined) stream.end();
    return stream;
  }

  /** Doesn't keep a closing engine alive. */
  unref(): void {
    this.#socket.unref();
  }

  close(): void {
    this.#end("it was closed here");
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #bounded<T>(ctx: OpContext, command: string, limitMs: number, work: Promise<T>): Promise<T> {
    const { signal } = withTimeout(ctx, limitMs);
    const { promise, reject } = Promise.withResolvers<never>();
    const abort = () =>
      reject(ctx.signal.aborted ? ctx.signal.reason : qemuErrors.QMP_SILENT({ command, seconds: limitMs / 1000 }));
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([work, promise]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #receive(bytes: Buffer): void {
    try {
      for (const { value } of this.#reader.push(bytes)) {
        if (value === undefined) throw new SyntaxError("a line is no JSON object");
        this.#take(value);
      }
    } catch (error) {
      this.#end(`it sends what is not its protocol: ${messageOf(error)}`);
    }
  }

  #take(line: JsonObject): void {
    if (isJsonObject(line["QMP"])) this.#greeting.resolve(versionOf(line["QMP"]));
    else if (typeof line["event"] === "string") {
      const data = isJsonObject(line["data"]) ? line["data"] : {};
      const event = { name: line["event"], data, atMs: timestampOf(line["timestamp"]) };
      for (const stream of this.#streams) stream.push(event);
    } else if (typeof line["id"] === "number") this.#answer(line["id"], line);
    // An error without an id: a command of ours that QEMU could not even read. Whoever sent it runs into its limit.
  }

  #answer(id: number, line: JsonObject): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return; // Given up meanwhile.
    const error = line["error"];
    if (isJsonObject(error)) {
      const text = typeof error["desc"] === "string" ? error["desc"] : "no reason was given";
      pending.reject(new CommandError("QMP_REFUSED", pending.command, String(error["class"]), text));
    } else pending.resolve(line["return"]);
  }

  #end(reason: string): void {
    if (this.#endedBy !== undefined) return;
    this.#endedBy = reason;
    this.#socket.destroy();
    this.#greeting.reject(qemuErrors.QMP_LOST({ command: "its greeting", reason }));
    for (const { command, reject } of this.#pending.values()) reject(qemuErrors.QMP_LOST({ command, reason }));
    for (const stream of this.#streams) stream.end();
    this.#closed.resolve(reason);
  }
}

function versionOf(greeting: JsonObject): QemuVersion {
  const version = isJsonObject(greeting["version"]) ? greeting["version"]["qemu"] : undefined;
  const part = (name: string) => {
    const value = isJsonObject(version) ? version[name] : undefined;
    return typeof value === "number" ? value : 0;
  };
  return { major: part("major"), minor: part("minor"), micro: part("micro") };
}

function timestampOf(value: unknown): number {
  if (!isJsonObject(value)) return 0;
  const { seconds, microseconds } = value;
  if (typeof seconds !== "number" || typeof microseconds !== "number" || seconds < 0) return 0;
  return seconds * 1000 + microseconds / 1000;
}
