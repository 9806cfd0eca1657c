/** A gRPC client on a connection that the other side opened: a build's client serves its files on one. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import type { Duplex } from "node:stream";
import { messageOf } from "../../base/errors.ts";
import { type OpContext, withTimeout } from "../../base/op-context.ts";
import { buildKitErrors } from "../errors.ts";
import type { Message } from "../wire/message.ts";
import { drained } from "./drained.ts";
import { frame, messagesOf } from "./framing.ts";
import { decodeStatusMessage, statusCode, StatusError } from "./status.ts";

/** gRPC's usual bound, which the other side keeps to as well. */
const messageLimit = 16 << 20;
/** A single answer takes no longer: the user may be asked for a passphrase. */
const unaryTimeMs = 120_000;

export interface GrpcStream<Q, A> extends AsyncDisposable {
  /** Waits while the other side takes nothing. */
  send(message: Partial<Q>): Promise<void>;
  /** Says that nothing more is sent. */
  end(): void;
  /** Ends with the other side's good status; a bad one is thrown. */
  readonly messages: AsyncIterable<A>;
}

export class GrpcClient {
  readonly #session: ClientHttp2Session;

  /** `socket` is the connection; it is closed with the client. */
  constructor(socket: Duplex) {
    this.#session = connect("http://localhost", {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: 1 << 20 },
      maxSessionMemory: 64,
    });
    // What was called on it fails with it, and says so.
    this.#session.on("error", () => this.#session.destroy());
  }

  onClose(listener: () => void): void {
    if (this.#session.destroyed) listener();
    else this.#session.once("close", listener);
  }

  close(): void {
    this.#session.destroy();
  }

  async unary<Q, A>(
    ctx: OpContext,
    method: string,
    [request, answer]: readonly [Message<Q>, Message<A>],
    message: Partial<Q>,
  ): Promise<A> {
    await using stream = this.stream(withTimeout(ctx, unaryTimeMs), method, [request, answer]);
    await stream.send(message);
    stream.end();
    let result: A | undefined;
    for await (const value of stream.messages) result ??= value;
    if (result === undefined) throw failed(method, "it is empty");
    return result;
  }

  /** `metadata` as headers; several values of one name each have a header of their own. */
  stream<Q, A>(
    ctx: OpContext,
    method: string,
    [request, answer]: readonly [Message<Q>, Message<A>],
    metadata: Readonly<Record<string, readonly string[]>> = {},
  ): GrpcStream<Q, A> {
    if (this.#session.destroyed || this.#session.closed) throw failed(method, "the client is gone");
    const stream = this.#session.request({
      ":method": "POST",
      ":path": method,
      ":scheme": "http",
      "content-type": "application/grpc",
      te: "trailers",
      ...metadataHeaders(metadata),
    });
    const abort = (): void => stream.close(constants.NGHTTP2_CANCEL);
    if (ctx.signal.aborted) abort();
    ctx.signal.addEventListener("abort", abort, { once: true });
    stream.once("close", () => ctx.signal.removeEventListener("abort", abort));
    const status = statusWhenEnded(stream);
    return {
      send: (message) => write(stream, frame(request.encode(message))),
      end: () => void stream.end(),
      messages: decoded(ctx, stream, method, answer, status),
      [Symbol.asyncDispose]: async () => stream.close(constants.NGHTTP2_CANCEL),
    };
  }
}

/** The status of a call that the other side refused; undefined when it did not come to an answer. */
export function refusalOf(error: unknown): number | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof StatusError ? cause.code : undefined;
}

interface Ended {
  /** Undefined when the stream broke off. */
  readonly code: number | undefined;
  readonly message: string;
}

function statusWhenEnded(stream: ClientHttp2Stream): Promise<Ended> {
  const ended = Promise.withResolvers<Ended>();
  const told = (headers: Readonly<Record<string, unknown>>): void => {
    const { "grpc-status": code, "grpc-message": message } = headers;
    if (typeof code !== "string") return;
    ended.resolve({ code: Number(code), message: typeof message === "string" ? decodeStatusMessage(message) : "" });
  };
  stream.on("response", told).on("trailers", told);
  let reason = "the connection was closed";
  stream.on("error", (error: Error) => {
    reason = messageOf(error);
  });
  stream.once("close", () => ended.resolve({ code: undefined, message: reason }));
  return ended.promise;
}

async function* decoded<A>(
  ctx: OpContext,
  stream: ClientHttp2Stream,
  method: string,
  answer: Message<A>,
  ended: Promise<Ended>,
): AsyncGenerator<A> {
  try {
    for await (const message of messagesOf(stream, messageLimit)) yield answer.decode(message);
  } catch (error) {
    ctx.signal.throwIfAborted();
    const { message } = stream.destroyed ? await ended : { message: messageOf(error) };
    throw failed(method, message, error);
  }
  const { code, message } = await ended;
  if (code === statusCode.ok) return;
  ctx.signal.throwIfAborted();
  throw failed(method, message, code === undefined ? undefined : new StatusError(code, message));
}

async function write(stream: ClientHttp2Stream, bytes: Buffer): Promise<void> {
  if (!stream.destroyed && !stream.write(bytes)) await drained(stream);
}

/** Values that a header can't hold are percent-encoded as a query's are, and marked: BuildKit's own custom. */
function metadataHeaders(metadata: Readonly<Record<string, readonly string[]>>): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (const [name, values] of Object.entries(metadata)) {
    const plain = values.every((value) => /^[\x20-\x7e]*$/.test(value));
    headers[name] = plain ? [...values] : values.map((value) => new URLSearchParams([["", value]]).toString().slice(1));
    if (!plain) headers[`${name}-encoded`] = ["1"];
  }
  return headers;
}

function failed(method: string, reason: string, cause?: unknown): Error {
  return buildKitErrors.BUILDKIT_CLIENT_FAILED({ method, reason }, { cause });
}
