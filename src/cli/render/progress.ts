import type { Readable } from "node:stream";
import { BerthError } from "../../base/errors.ts";
import { jsonValues } from "../../client/json-lines.ts";
import type { CliContext } from "../command.ts";

/** One message of Docker's progress stream. */
interface ProgressMessage {
  readonly id?: string;
  readonly status?: string;
  readonly stream?: string;
  readonly progress?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly error?: string;
  readonly errorDetail?: { readonly message?: string; readonly hint?: string };
  readonly aux?: unknown;
}

/**
 * Draws a progress stream (pull, push, build, load): on a terminal each id has a line that is redrawn with its bar, elsewhere
 * only the steps are printed. Throws what the stream reports as an error. Returns the `aux` values.
 */
export async function drawProgress(
  ctx: CliContext,
  body: Readable,
  options: { readonly quiet?: boolean } = {},
): Promise<readonly unknown[]> {
  const lines = ctx.stdout.isTTY === true ? new RedrawnLines(ctx) : new PlainLines(ctx);
  const aux: unknown[] = [];
  for await (const value of jsonValues(body)) {
    const message = value as ProgressMessage;
    if (message.error !== undefined) {
      const { message: detail, hint } = message.errorDetail ?? {};
      throw new BerthError("ENGINE_ERROR", 500, detail ?? message.error, hint);
    }
    if (message.aux !== undefined) aux.push(message.aux);
    if (options.quiet === true) continue;
    if (message.stream !== undefined) lines.text(message.stream);
    else if (message.status !== undefined)
      lines.step(message.id, message.status, barText(message, ctx.stdout.columns ?? 80));
  }
  return aux;
}

function barText(message: ProgressMessage, columns: number): string {
  const { current, total } = message.progressDetail ?? {};
  if (current === undefined || total === undefined || total <= 0) return message.progress ?? "";
  const width = Math.max(10, Math.min(50, columns - 60));
  const filled = Math.min(width, Math.floor((current / total) * width));
  const bar =
    filled === width ? "=".repeat(width) : `${"=".repeat(filled)}>${" ".repeat(Math.max(0, width - filled - 1))}`;
  return `[${bar}] ${megabytes(current)}/${megabytes(total)}`;
}

function megabytes(bytes: number): string {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)}kB` : `${(bytes / 1e6).toFixed(1)}MB`;
}

class PlainLines {
  readonly #ctx: CliContext;
  readonly #last = new Map<string, string>();

  constructor(ctx: CliContext) {
    this.#ctx = ctx;
  }

  text(text: string): void {
    this.#ctx.stdout.write(text);
  }

  step(id: string | undefined, status: string, _bar: string): void {
    if (id !== undefined && this.#last.get(id) === status) return;
    if (id !== undefined) this.#last.set(id, status);
    this.#ctx.stdout.write(`${id === undefined ? "" : `${id}: `}${status}\n`);
  }
}

class RedrawnLines {
  readonly #ctx: CliContext;
  /** Row of each id, counted from the first that is still redrawn. */
  #rows = new Map<string, number>();

  constructor(ctx: CliContext) {
    this.#ctx = ctx;
  }

  text(text: string): void {
    this.#rows = new Map();
    this.#ctx.stdout.write(text);
  }

  step(id: string | undefined, status: string, bar: string): void {
    if (id === undefined) {
      this.text(`${status}\n`);
      return;
    }
    const line = `${id}: ${status}${bar === "" ? "" : ` ${bar}`}`;
    const row = this.#rows.get(id);
    if (row === undefined) {
      this.#rows.set(id, this.#rows.size);
      this.#ctx.stdout.write(`${line}\n`);
      return;
    }
    const up = this.#rows.size - row;
    this.#ctx.stdout.write(`\x1b[${up}A\x1b[2K\r${line}\x1b[${up}B\r`);
  }
}
