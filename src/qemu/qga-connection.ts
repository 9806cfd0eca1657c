import { randomInt } from "node:crypto";
import type { Socket } from "node:net";
import { messageOf } from "../base/errors.ts";
import { type OpContext, withTimeout } from "../base/op-context.ts";
import { CommandError } from "./command-error.ts";
import { qemuErrors } from "./errors.ts";
import { isJsonObject, type JsonObject, JsonLineReader, type ParsedLine } from "./json-lines.ts";

/** qemu-ga keeps at most 16 MiB of a command's output, in base64. */
const maxLineBytes = 64 * 1024 * 1024;

interface Waiting {
  readonly accepts: (line: ParsedLine) => boolean;
  readonly resolve: (line: ParsedLine) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * One connection to qemu-ga's port. Answers have no ids, and those to a client before us may still come: it is usable once
 * {@link synchronize} has found its own number, and no more after a request that was given up.
 */
export class QgaConnection {
  readonly #socket: Socket;
  readonly #reader = new JsonLineReader(maxLineBytes);
  #waiting: Waiting | undefined;
  #endedBy: string | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.unref();
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("error", (error) => this.#end(messageOf(error)));
    socket.on("close", () => this.#end("the connection has ended"));
    if (socket.destroyed) this.#end("the connection has ended");
  }

  get isClosed(): boolean {
    return this.#endedBy !== undefined;
  }

  /** Drops whatever comes until the agent has answered to a number of ours. */
  async synchronize(ctx: OpContext, limitMs: number): Promise<void> {
    const command = "guest-sync-delimited";
    const id = randomInt(1, 2 ** 47);
    // The byte makes the agent forget a request that somebody has left half sent.
    const request = Buffer.concat([Buffer.from([0xff]), encode(command, { id })]);
    await this.#ask(
      ctx,
      command,
      request,
      limitMs,
      ({ value, isDelimited }) => isDelimited && value?.["return"] === id,
    );
  }

  /** What the agent returned; `QGA_REFUSED` (a {@link CommandError}), `QGA_SILENT`, `QGA_LOST`. */
  async execute(ctx: OpContext, command: string, args: JsonObject, limitMs: number): Promise<unknown> {
    const { value } = await this.#ask(ctx, command, encode(command, args), limitMs, () => true);
    const error = value?.["error"];
    if (isJsonObject(error)) {
      const text = typeof error["desc"] === "string" ? error["desc"] : "no reason was given";
      throw new CommandError("QGA_REFUSED", command, String(error["class"]), text);
    }
    if (value === undefined || !("return" in value)) {
      this.#end("it answers what is not its protocol");
      throw qemuErrors.QGA_LOST({ command, reason: "it is not of the protocol" });
    }
    return value["return"];
  }

  close(): void {
    this.#end("it was closed here");
  }

  async #ask(
    ctx: OpContext,
    command: string,
    request: Buffer,
    limitMs: number,
    accepts: Waiting["accepts"],
  ): Promise<ParsedLine> {
    ctx.signal.throwIfAborted();
    if (this.#endedBy !== undefined) throw qemuErrors.QGA_LOST({ command, reason: this.#endedBy });
    const { promise, resolve, reject } = Promise.withResolvers<ParsedLine>();
    const lost = (reason: unknown) => reject(qemuErrors.QGA_LOST({ command, reason: String(reason) }));
    this.#waiting = { accepts, resolve, reject: lost };
    const { signal } = withTimeout(ctx, limitMs);
    const abort = () => {
      reject(ctx.signal.aborted ? ctx.signal.reason : qemuErrors.QGA_SILENT({ command, seconds: limitMs / 1000 }));
      this.#end("a request was given up");
    };
    signal.addEventListener("abort", abort, { once: true });
    try {
      this.#socket.write(request);
      return await promise;
    } finally {
      signal.removeEventListener("abort", abort);
      this.#waiting = undefined;
    }
  }

  #receive(bytes: Buffer): void {
    try {
      for (const line of this.#reader.push(bytes)) if (this.#waiting?.accepts(line)) this.#waiting.resolve(line);
    } catch (error) {
      this.#end(messageOf(error));
    }
  }

  #end(reason: string): void {
    if (this.#endedBy !== undefined) return;
    this.#endedBy = reason;
    this.#socket.destroy();
    this.#waiting?.reject(reason);
  }
}

function encode(command: string, args: JsonObject): Buffer {
  return Buffer.from(`${JSON.stringify({ execute: command, arguments: args })}\n`);
}
