import { PassThrough, Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { OutputFrame, TaskIo } from "../driver.ts";

/** What a fake process does; resolves to its exit code. Killed processes never see it through. */
export type FakeProgram = (process: FakeProcess) => Promise<number>;

export interface FakeProcessOptions {
  readonly pid: number;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly tty: boolean;
  readonly openStdin: boolean;
  /** Ending an attached client's stdin closes the process's. */
  readonly closeStdinWithClient: boolean;
  readonly onOutput?: (frame: OutputFrame) => void;
}

/** A process in memory: streams that tests and programs write to, signals, one exit. */
export class FakeProcess {
  readonly pid: number;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly tty: boolean;
  /** What attached clients sent. Ends at half-close. */
  readonly stdin = new PassThrough();
  /** Signals received, in order. */
  readonly signals: number[] = [];
  size = { rows: 0, columns: 0 };

  readonly #options: FakeProcessOptions;
  readonly #clients = new Set<Readable>();
  readonly #handlers = new Map<number, () => void>();
  readonly #exit = Promise.withResolvers<number>();
  readonly #ended = new AbortController();

  constructor(options: FakeProcessOptions) {
    this.#options = options;
    this.pid = options.pid;
    this.argv = options.argv;
    this.env = options.env;
    this.tty = options.tty;
    if (!options.openStdin) this.stdin.end();
  }

  get exited(): Promise<number> {
    return this.#exit.promise;
  }

  get alive(): boolean {
    return !this.#ended.signal.aborted;
  }

  /** Runs `program` to its end, unless the process is ended before. */
  run(program: FakeProgram): void {
    program(this).then(
      (code) => this.exit(code),
      () => this.exit(1),
    );
  }

  write(stream: OutputFrame["stream"], text: string | Uint8Array): void {
    const data = typeof text === "string" ? Buffer.from(text) : text;
    const frame: OutputFrame = { stream: this.tty ? "stdout" : stream, data };
    this.#options.onOutput?.(frame);
    for (const client of this.#clients) client.push(frame);
  }

  exit(code: number): void {
    if (!this.alive) return;
    this.#ended.abort();
    for (const client of this.#clients) client.push(null);
    this.#clients.clear();
    this.stdin.end();
    this.#exit.resolve(code);
  }

  /** Default action: it dies with 128 + signal. SIGWINCH, SIGCHLD and 0 do nothing. */
  signal(signal: number): void {
    this.signals.push(signal);
    const handler = this.#handlers.get(signal);
    if (handler !== undefined && signal !== 9) return handler();
    if (![0, 17, 18, 28].includes(signal)) this.exit(128 + signal);
  }

  onSignal(signal: number, handler: () => void): void {
    this.#handlers.set(signal, handler);
  }

  /** Resolves after `ms`; never when the process ends before. */
  async sleep(ms: number): Promise<void> {
    try {
      await delay(ms, undefined, { signal: this.#ended.signal, ref: false });
    } catch {
      await new Promise(() => {});
    }
  }

  attach(): TaskIo {
    const output = new Readable({ objectMode: true, highWaterMark: 1024, read() {} });
    if (this.alive) this.#clients.add(output);
    else output.push(null);
    const stdin = new Writable({
      write: (chunk, _encoding, done) => {
        if (!this.stdin.writableEnded) this.stdin.write(chunk);
        done();
      },
      final: (done) => {
        if (this.#options.closeStdinWithClient) this.stdin.end();
        done();
      },
    });
    return {
      output,
      stdin: this.#options.openStdin ? stdin : undefined,
      detach: () => {
        this.#clients.delete(output);
        output.push(null);
      },
    };
  }
}
