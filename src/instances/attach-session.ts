import { Readable, Writable } from "node:stream";
import { callbackify } from "node:util";
import type { OutputFrame, TaskIo } from "./driver.ts";
import type { AttachSession } from "./instance-service.ts";

export interface SessionRequest {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Whether the end of the client's input closes the process's; else it ends the session only. */
  readonly closesStdin: boolean;
  /** Told once, when the client leaves while the process goes on. */
  readonly onLeave?: (byDetachKeys: boolean) => void;
}

/**
 * One client's view of a process's streams, made before or after the process: it connects to a {@link TaskIo} when there is
 * one, holds the client's input until then, and passes back-pressure both ways.
 */
export class ClientSession implements AttachSession {
  readonly tty: boolean;
  readonly output: Readable;
  readonly stdin: Writable | undefined;
  readonly #request: SessionRequest;
  readonly #connected = Promise.withResolvers<TaskIo | undefined>();
  #io: TaskIo | undefined;
  #over = false;

  constructor(request: SessionRequest) {
    this.#request = request;
    this.tty = request.tty;
    this.output = new Readable({
      objectMode: true,
      read: () => void this.#io?.output.resume(),
      destroy: (error, done) => {
        this.detach();
        done(error);
      },
    });
    this.stdin = request.stdin ? this.#makeStdin() : undefined;
  }

  get over(): boolean {
    return this.#over;
  }

  /** Sends these frames before whatever is live. */
  replay(frames: Iterable<OutputFrame>): void {
    for (const frame of frames) this.#push(frame);
  }

  /** Joins the process. The output ends with the process's, but not before `recorded`: what a client asks for next is then known. */
  connect(io: TaskIo, recorded: Promise<unknown> = Promise.resolve()): void {
    if (this.#over) {
      io.detach();
      return;
    }
    this.#io = io;
    io.output.on("data", (frame: OutputFrame) => {
      if (!this.#push(frame)) io.output.pause();
    });
    const end = () =>
      void recorded.then(
        () => this.end(),
        () => this.end(),
      );
    io.output.once("end", end);
    io.output.once("close", end);
    io.output.once("error", end);
    this.#connected.resolve(io);
  }

  /** The process has closed its output, or there will be none. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#connected.resolve(undefined);
    this.output.push(null);
  }

  detach(byDetachKeys = false): void {
    if (this.#over) return;
    this.#over = true;
    this.#connected.resolve(undefined);
    this.output.push(null);
    this.#io?.detach();
    this.#request.onLeave?.(byDetachKeys);
  }

  #push(frame: OutputFrame): boolean {
    if (this.#over) return true;
    const wanted = frame.stream === "stdout" ? this.#request.stdout : this.#request.stderr;
    return wanted ? this.output.push(frame) : true;
  }

  #makeStdin(): Writable {
    return new Writable({
      write: (chunk: Uint8Array, _encoding, done) => callbackify(() => this.#write(chunk))(done),
      final: (done) => callbackify(() => this.#endStdin())(done),
    });
  }

  async #write(chunk: Uint8Array): Promise<void> {
    const io = await this.#connected.promise;
    await writeThrough(io?.stdin, chunk);
  }

  async #endStdin(): Promise<void> {
    const io = await this.#connected.promise;
    if (this.#request.closesStdin) io?.stdin?.end();
    else this.detach();
  }
}

/** A process that has closed its input takes no more: what is typed after that is dropped, as a pipe's reader going away does. */
async function writeThrough(stdin: Writable | undefined, chunk: Uint8Array): Promise<void> {
  if (stdin === undefined || stdin.destroyed || stdin.writableEnded) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stdin.write(chunk, (error) =>
    error === null || error === undefined || isPipeClosed(error) ? resolve() : reject(error),
  );
  await promise;
}

function isPipeClosed(error: Error): boolean {
  return (
    "code" in error && (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED" || error.code === "ECONNRESET")
  );
}
