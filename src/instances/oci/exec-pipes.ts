import { Socket } from "node:net";
import { Readable } from "node:stream";
import type { OutputFrame, TaskIo } from "../driver.ts";

/** Frames that wait for a slow client before the command itself is held up, as behind a full pipe. */
const framesAhead = 64;
/** After the command's end: how long its pipes are silent before a child of it that keeps them is not waited for. */
const silenceMs = 200;
/** And how many such times one is listened to that is not silent: two seconds, as in Docker. */
const looksAtMost = 10;

/** The engine's ends of the pipes of a command that it runs without a monitor; it owns them from here on. */
export interface ExecPipes {
  readonly stdin: number | undefined;
  readonly stdout: number;
  readonly stderr: number;
}

/** A command's streams over pipes. They don't keep a closing engine alive. */
export class PipedIo implements TaskIo {
  readonly output: Readable;
  readonly stdin: Socket | undefined;
  readonly #sources: readonly Socket[];
  #open: number;
  #left = false;
  /** Held up by a slow client. */
  #paused = true;
  /** Something was read, or could not be, since it was last looked at. */
  #stirred = false;

  constructor({ stdin, stdout, stderr }: ExecPipes) {
    this.#sources = [this.#read("stdout", stdout), this.#read("stderr", stderr)];
    this.#open = this.#sources.length;
    this.output = new Readable({
      objectMode: true,
      highWaterMark: framesAhead,
      read: () => this.#resume(),
      destroy: (error, done) => {
        this.detach();
        done(error);
      },
    });
    if (stdin === undefined) return;
    this.stdin = new Socket({ fd: stdin, readable: false, writable: true });
    this.stdin.unref();
    // A command that has ended, or closed its input, takes no more: what is sent to it is lost, and no fault of the client's.
    this.stdin.on("error", () => this.stdin?.destroy());
  }

  /** What is written from here on is read and dropped: the command must not stop behind a full pipe. */
  detach(): void {
    if (this.#left) return;
    this.#left = true;
    this.#resume();
    if (!this.output.destroyed) this.output.push(null);
  }

  /** The command has ended: output ends when its pipes do, or soon after what it wrote has been read. */
  ended(): void {
    this.stdin?.destroy();
    this.#linger(looksAtMost);
  }

  /** It never began. */
  discard(): void {
    this.stdin?.destroy();
    for (const source of this.#sources) source.destroy();
  }

  #read(stream: OutputFrame["stream"], fd: number): Socket {
    const source = new Socket({ fd, readable: true, writable: false });
    source.unref();
    source.pause();
    source.on("data", (data: Uint8Array) => {
      this.#stirred = true;
      if (this.#left) return;
      const frame: OutputFrame = { stream, data };
      if (!this.output.push(frame)) this.#pause();
    });
    source.on("error", () => source.destroy());
    source.on("close", () => this.#close());
    return source;
  }

  #pause(): void {
    this.#paused = true;
    for (const source of this.#sources) source.pause();
  }

  #resume(): void {
    if (this.#paused) this.#stirred = true;
    this.#paused = false;
    for (const source of this.#sources) source.resume();
  }

  #linger(looks: number): void {
    if (this.#open === 0) return;
    const look = () => {
      if (!this.#paused && (!this.#stirred || looks === 0)) {
        for (const source of this.#sources) source.destroy();
        return;
      }
      this.#stirred = false;
      this.#linger(this.#paused ? looks : looks - 1);
    };
    // The event loop goes to its timers first: what is in the pipes it has read by its next turn, however late that is.
    setTimeout(() => setImmediate(look), silenceMs).unref();
  }

  #close(): void {
    this.#open -= 1;
    if (this.#open === 0 && !this.#left && !this.output.destroyed) this.output.push(null);
  }
}
