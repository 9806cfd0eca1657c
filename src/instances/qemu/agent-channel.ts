import type { Socket } from "node:net";
import { Readable, Writable } from "node:stream";
import {
  decodeFields,
  encodeFields,
  encodeFrame,
  type Field,
  type Frame,
  FrameReader,
  type FrameType,
  frameType,
  frameWindow,
} from "../../guest/frames.ts";
import type { OutputFrame, TerminalSize } from "../driver.ts";

/** The agent's ERROR, or the end of the road to it (kind "lost"). */
export class AgentError extends Error {
  readonly kind: string;
  /** The guest's kernel's, 0 when it said none. */
  readonly errno: number;

  constructor(kind: string, message: string, errno = 0) {
    super(message);
    this.kind = kind;
    this.errno = errno;
  }
}

export type Answer = readonly Field[];

/** Each request has a connection of its own: its end is the request's, whoever's fault that is. */
const channel = 1;
const maxPiece = 32 * 1024;
/** Frames that wait in the stream itself; what is beyond waits in the guest. */
const framesAhead = 16;

/** One request to the agent, with its streams; see guest/protocol.h. */
export class AgentChannel {
  /** Object mode, of {@link OutputFrame}. */
  readonly output: Readable;
  readonly stdin: Writable;
  /** The fields of STARTED or REPLY; rejects with an {@link AgentError}. */
  readonly answer: Promise<Answer>;
  /** Exit code; rejects like `answer` when there is none. */
  readonly exited: Promise<number>;
  /** The channel is over: no more output comes. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  readonly #answer = Promise.withResolvers<Answer>();
  readonly #exited = Promise.withResolvers<number>();
  readonly #closed = Promise.withResolvers<void>();
  readonly #waiting: OutputFrame[] = [];
  #isWanted = false;
  #isLeft = false;
  #isOver = false;
  #window = frameWindow;
  #onCredit: (() => void) | undefined;

  /** Sends the request on `socket`, which is this channel's from here on. */
  constructor(socket: Socket, fields: readonly Field[]) {
    this.#socket = socket;
    this.answer = this.#answer.promise;
    this.exited = this.#exited.promise;
    this.closed = this.#closed.promise;
    // Who does not ask is not told.
    this.answer.catch(() => {});
    this.exited.catch(() => {});
    this.output = new Readable({
      objectMode: true,
      highWaterMark: framesAhead,
      read: () => {
        this.#isWanted = true;
        this.#pass();
      },
    });
    this.stdin = new Writable({
      write: (bytes: Buffer, _encoding, done) => this.#write(bytes, done),
      final: (done) => {
        this.#send(frameType.end);
        done();
      },
    });
    this.stdin.on("error", () => {});
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("error", () => {});
    socket.on("close", () => this.#end(new AgentError("lost", "the connection to it has ended")));
    this.#send(frameType.open, encodeFields(fields));
    // It ended before anybody listened.
    if (socket.destroyed) this.#end(new AgentError("lost", "the connection to it has ended"));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  signal(signal: number): void {
    this.#send(frameType.signal, u32(signal));
  }

  resize({ rows, columns }: TerminalSize): void {
    const size = Buffer.alloc(4);
    size.writeUInt16LE(rows, 0);
    size.writeUInt16LE(columns, 2);
    this.#send(frameType.resize, size);
  }

  /** Output is nobody's from here on, and stops nothing. */
  discard(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    if (!this.output.destroyed) this.output.push(null);
    this.#pass();
  }

  /** Leaves: what was not opened to go on is killed. */
  close(): void {
    this.#socket.destroy();
  }

  /** Doesn't keep a closing engine alive. */
  unref(): void {
    this.#socket.unref();
  }

  #receive(bytes: Buffer): void {
    try {
      for (const frame of this.#reader.push(bytes)) if (frame.channel === channel) this.#take(frame);
    } catch (error) {
      this.#end(new AgentError("protocol", error instanceof Error ? error.message : String(error)));
    }
  }

  #take(frame: Frame): void {
    switch (frame.type) {
      case frameType.data:
        this.#waiting.push({ stream: frame.stream === 2 ? "stderr" : "stdout", data: frame.payload });
        this.#pass();
        break;
      case frameType.credit:
        if (frame.payload.length === 4) this.#window += frame.payload.readUInt32LE(0);
        this.#onCredit?.();
        break;
      case frameType.started:
      case frameType.reply:
        this.#answer.resolve(decodeFields(frame.payload));
        break;
      case frameType.exit:
        this.#exited.resolve(Number(new Map(decodeFields(frame.payload)).get("code") ?? 255));
        break;
      case frameType.error: {
        const fields = new Map(decodeFields(frame.payload));
        const message = fields.get("message") ?? "no reason was given";
        this.#fail(new AgentError(fields.get("kind") ?? "system", message, Number(fields.get("errno") ?? 0)));
        break;
      }
      case frameType.closed:
        this.#end(new AgentError("protocol", "the agent ended the request without an answer"));
        break;
      default:
    }
  }

  /** Gives the reader what it takes, and the agent the room back. */
  #pass(): void {
    while (this.#waiting.length > 0 && (this.#isWanted || this.#isLeft)) {
      const frame = this.#waiting.shift();
      if (frame === undefined) break;
      this.#send(frameType.credit, u32(frame.data.length), frame.stream === "stderr" ? 2 : 1);
      if (!this.#isLeft) this.#isWanted = this.output.push(frame);
    }
    if (this.#isOver && this.#waiting.length === 0 && !this.#isLeft) {
      this.#isLeft = true;
      if (!this.output.destroyed) this.output.push(null);
    }
  }

  #write(bytes: Buffer, done: () => void): void {
    if (this.#isOver || bytes.length === 0) {
      done(); // Nobody reads it any more: as behind a pipe whose reader is gone, without the signal.
      return;
    }
    if (this.#window === 0) {
      this.#onCredit = () => {
        this.#onCredit = undefined;
        this.#write(bytes, done);
      };
      return;
    }
    const piece = bytes.subarray(0, Math.min(bytes.length, this.#window, maxPiece));
    this.#window -= piece.length;
    this.#send(frameType.data, piece);
    this.#write(bytes.subarray(piece.length), done);
  }

  #send(type: FrameType, payload: Uint8Array = new Uint8Array(), stream = 0): void {
    if (this.#socket.writable) this.#socket.write(encodeFrame(channel, type, payload, stream));
  }

  #fail(error: AgentError): void {
    this.#answer.reject(error);
    this.#exited.reject(error);
  }

  #end(error: AgentError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#fail(error); // Unless they are settled.
    this.#socket.destroy();
    this.#onCredit?.();
    this.#pass();
    this.#closed.resolve();
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
