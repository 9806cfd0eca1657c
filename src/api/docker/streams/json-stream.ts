/** Docker's stream of JSON messages: what pull, push, load, import and build answer. */
import type { FastifyReply } from "fastify";
import { BerthError, isBerthError, messageOf } from "../../../base/errors.ts";
import type { ProgressEvent, ProgressSink } from "../../../base/progress.ts";
import { BuildCommandError } from "../../../build/errors.ts";
import type { Call } from "../route.ts";
import { progressBar } from "./progress-bar.ts";
import { plainHeaders } from "./send-stream.ts";

/** A client that lets this much pile up is cut off. Bytes. */
const maxBuffered = 64 * 1024 * 1024;
/** Redraws of a line come at most this often. */
const redrawMs = 100;

export interface JsonStreamOptions {
  /** Whether `aux` messages are wanted (build, since 1.30). */
  readonly aux?: boolean;
  readonly contentType?: string;
}

/**
 * Runs `work` with a sink that writes messages to the client. The answer's head goes out with the first one: an error
 * before it is a plain error answer, one after it is the stream's last message, with status 200.
 */
export async function streamProgress(
  call: Call,
  work: (progress: ProgressSink, stream: JsonStream) => Promise<void>,
  options: JsonStreamOptions = {},
): Promise<void> {
  const stream = new JsonStream(call.reply, options);
  try {
    await work((event) => stream.progress(event), stream);
  } catch (error) {
    if (!stream.started) throw error;
    if (!call.ctx.signal.aborted) {
      const known = error instanceof BerthError;
      const fields = { url: call.request.originalUrl, error: messageOf(error) };
      if (known && error.status < 500) call.ctx.log.debug(fields, "request failed after its answer began");
      else call.ctx.log.warn(fields, "request failed after its answer began");
    }
    stream.fail(error);
  }
  stream.end();
}

/** Writes messages, redraws at a bearable rate, and gives up on a client that does not read. */
export class JsonStream {
  readonly #reply: FastifyReply;
  readonly #aux: boolean;
  readonly #contentType: string;
  readonly #lastRedraw = new Map<string, { readonly at: number; readonly status: string | undefined }>();
  #started = false;

  constructor(reply: FastifyReply, options: JsonStreamOptions) {
    this.#reply = reply;
    this.#aux = options.aux ?? true;
    this.#contentType = options.contentType ?? "application/json";
  }

  get started(): boolean {
    return this.#started;
  }

  progress(event: ProgressEvent): void {
    if (event.aux !== undefined && !this.#aux) return;
    if (this.#isSkippable(event)) return;
    this.write(messageFields(event));
  }

  fail(error: unknown): void {
    const message = messageOf(error);
    // `docker build` exits with the failed command's own code.
    const code = error instanceof BuildCommandError ? { code: error.exitCode } : {};
    // Of a field that they don't know Docker's clients take no notice.
    const hint = isBerthError(error) && error.hint !== undefined ? { hint: error.hint } : {};
    this.write({ errorDetail: { ...code, message, ...hint }, error: message });
  }

  write(message: object): void {
    const raw = this.#reply.raw;
    this.start();
    if (raw.destroyed || raw.writableEnded) return;
    raw.write(`${JSON.stringify(message)}\r\n`);
    if (raw.writableLength > maxBuffered) raw.destroy();
  }

  /** Sends the head. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    const { raw } = this.#reply;
    this.#reply.hijack();
    raw.writeHead(200, { ...plainHeaders({ reply: this.#reply }), "Content-Type": this.#contentType });
    raw.flushHeaders();
  }

  end(): void {
    this.start();
    this.#reply.raw.end();
  }

  /** Positions of a bar in between: too soon after the last, or while the client has not read the last. */
  #isSkippable({ id, status, current, total }: ProgressEvent): boolean {
    if (id === undefined || current === undefined || current === total) return false;
    const now = Date.now();
    const last = this.#lastRedraw.get(id);
    const soon = last !== undefined && last.status === status && now - last.at < redrawMs;
    if (soon || this.#reply.raw.writableNeedDrain) return true;
    this.#lastRedraw.set(id, { at: now, status });
    return false;
  }
}

function messageFields(event: ProgressEvent): object {
  const { id, status, stream, current, total, aux } = event;
  const detail =
    current === undefined && total === undefined
      ? status !== undefined && id !== undefined
        ? { progressDetail: {} }
        : {}
      : {
          progressDetail: { ...(current ? { current } : {}), ...(total ? { total } : {}) },
          progress: progressBar(current ?? 0, total ?? 0),
        };
  return {
    ...(stream === undefined ? {} : { stream }),
    ...(status === undefined ? {} : { status }),
    ...detail,
    ...(id === undefined ? {} : { id }),
    ...(aux === undefined ? {} : { aux }),
  };
}
