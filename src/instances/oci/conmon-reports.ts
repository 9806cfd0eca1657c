import { closeSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { Type } from "typebox";
import { Check } from "typebox/value";
import type { OpContext } from "../../base/op-context.ts";
import { errnoOf } from "../../host/errors.ts";
import { failpoints } from "../../host/failpoints.ts";

/** What conmon says on a pipe, one JSON object a line: a pid or an exit code, or -1 with the runtime's words. */
export interface Report {
  readonly data: number;
  readonly message?: string;
}
const Report = Type.Object({ data: Type.Integer(), message: Type.Optional(Type.String()) });

/** Reads conmon's reports from our end of a pipe, which it then owns. */
export class ReportReader implements Disposable {
  readonly #socket: Socket;
  #text = "";
  #ended = false;
  #wake: () => void = () => {};

  constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: true, writable: false });
    // A command that goes on must not keep a closing engine.
    this.#socket.unref();
    this.#socket.setEncoding("utf8");
    this.#socket.on("data", (chunk: string) => {
      this.#text += chunk;
      this.#wake();
    });
    this.#socket.on("error", () => this.#end());
    this.#socket.on("close", () => this.#end());
  }

  /** The next report; undefined when conmon closed the pipe without one. Without a context it waits as long as it takes. */
  async next(ctx?: OpContext): Promise<Report | undefined> {
    const abort = () => this.#wake();
    ctx?.signal.addEventListener("abort", abort, { once: true });
    try {
      for (;;) {
        ctx?.signal.throwIfAborted();
        const line = this.#takeLine();
        if (line !== undefined) return parseReport(line);
        if (this.#ended) return undefined;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      ctx?.signal.removeEventListener("abort", abort);
    }
  }

  /** Waits no longer: there is no report but those that came. */
  giveUp(): void {
    this.#end();
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #takeLine(): string | undefined {
    const end = this.#text.indexOf("\n");
    if (end < 0) return undefined;
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    return line;
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }
}

/** Our end of conmon's start pipe: it goes on by one step for each write. */
export class GoPipe implements Disposable {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** One byte into an empty pipe: never blocks. A conmon that is gone hears nothing: the end of its reports tells of that. */
  go(): void {
    if (failpoints.on) failpoints.beforeSync("process.conmon.go", `descriptor ${this.#fd}`);
    try {
      writeSync(this.#fd, "\0");
    } catch (error) {
      if (errnoOf(error) !== "EPIPE") throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function parseReport(line: string): Report {
  const report: unknown = JSON.parse(line);
  if (!Check(Report, report)) throw new Error(`conmon sent ${line}`);
  return report;
}
