/** A gRPC server for one connection, on Node's own HTTP/2: the sockets come from an HTTP/1.1 upgrade, which no gRPC library takes. */
import { type IncomingHttpHeaders, performServerHandshake, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { BerthError, messageOf } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { OpContext } from "../../base/op-context.ts";
import { buildKitErrors } from "../errors.ts";
import type { Message } from "../wire/message.ts";
import { drained } from "./drained.ts";
import { frame, messagesOf } from "./framing.ts";
import { encodeStatusMessage, statusCode, StatusError, statusOf } from "./status.ts";

export interface GrpcCall {
  /** Aborted when the client gave the call up or is gone. */
  readonly ctx: OpContext;
  /** A header's first value; "" when it was not sent. */
  metadata(name: string): string;
  metadataAll(name: string): readonly string[];
}

/** Answers with any number of messages to any number of them; the answer's head has been sent when it is called. */
export type Method = (call: GrpcCall, requests: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

/** By path, "/moby.buildkit.v1.Control/Info". */
export type Methods = ReadonlyMap<string, Method>;

export function unary<Q, A>(
  request: Message<Q>,
  answer: Message<A>,
  handle: (call: GrpcCall, request: Q) => Promise<Partial<A>> | Partial<A>,
): Method {
  return async function* (call, requests) {
    yield answer.encode(await handle(call, request.decode(await only(requests))));
  };
}

export function serverStream<Q, A>(
  request: Message<Q>,
  answer: Message<A>,
  handle: (call: GrpcCall, request: Q) => AsyncIterable<Partial<A>>,
): Method {
  return async function* (call, requests) {
    for await (const message of handle(call, request.decode(await only(requests)))) yield answer.encode(message);
  };
}

/** A request holds a Dockerfile's options, or an inlined Dockerfile, at most. */
const requestLimit = 16 << 20;
const requestTimeMs = 60_000;

/** Serves `methods` on the socket until it closes; every call has ended then. */
export async function serveGrpc(socket: Socket, methods: Methods, log: Logger): Promise<void> {
  const session = performServerHandshake(socket, {
    settings: { maxConcurrentStreams: 100, maxHeaderListSize: 1 << 20 },
    maxSessionMemory: 64,
  });
  const calls = new Set<Promise<void>>();
  session.on("stream", (stream, headers) => {
    const call = serveCall(stream, headers, methods, log);
    calls.add(call);
    void call.finally(() => calls.delete(call));
  });
  session.on("error", (error: Error) => log.debug({ error: error.message }, "a BuildKit connection failed"));
  const closed = Promise.withResolvers<void>();
  session.once("close", closed.resolve);
  // HTTP/1.1's sockets may be half open; a client that sends nothing more is gone.
  socket.once("end", () => session.destroy()).once("close", () => session.destroy());
  await closed.promise;
  await Promise.all(calls);
}

async function serveCall(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  methods: Methods,
  log: Logger,
): Promise<void> {
  const gone = new AbortController();
  let finished = false;
  stream.once("close", () => {
    if (!finished) gone.abort();
  });
  // A reset stream has been heard by then.
  stream.on("error", (error: Error) => log.debug({ error: error.message }, "a BuildKit call was cut off"));
  const path = headers[":path"] ?? "";
  const metadata = (name: string): string => {
    const value = headers[name];
    return (Array.isArray(value) ? value[0] : value) ?? "";
  };
  // Node joins what came several times.
  const metadataAll = (name: string): readonly string[] =>
    [headers[name] ?? []].flat().flatMap((value) => value.split(", "));
  try {
    const method = methods.get(path);
    if (method === undefined) throw buildKitErrors.BUILDKIT_METHOD_UNKNOWN({ method: path });
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.once("wantTrailers", () => sendTrailers(stream, { code: statusCode.ok, message: "" }));
    const call = { ctx: { signal: gone.signal, log }, metadata, metadataAll };
    for await (const message of method(call, messagesOf(stream, requestLimit))) {
      await write(stream, frame(message));
    }
    finished = true;
    stream.end();
  } catch (error) {
    finished = true;
    if (gone.signal.aborted) return;
    if (!(error instanceof BerthError || error instanceof StatusError)) {
      const stack = error instanceof Error ? error.stack : undefined;
      log.error({ method: path, error: messageOf(error), stack }, "a BuildKit call failed unexpectedly: a bug");
    }
    fail(stream, error);
  }
}

/** A client that began a request sends the rest of it within a minute. */
async function only(requests: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(buildKitErrors.BUILDKIT_MESSAGE_INVALID({ reason: "it did not come in time" })),
    requestTimeMs,
  );
  try {
    const { done, value } = await Promise.race([requests[Symbol.asyncIterator]().next(), late.promise]);
    if (done !== true) return value;
  } finally {
    clearTimeout(timer);
  }
  throw buildKitErrors.BUILDKIT_MESSAGE_INVALID({ reason: "there is none" });
}

async function write(stream: ServerHttp2Stream, bytes: Buffer): Promise<void> {
  if (!stream.destroyed && !stream.write(bytes)) await drained(stream);
}

function fail(stream: ServerHttp2Stream, error: unknown): void {
  if (stream.destroyed) return;
  const status = statusOf(error);
  if (!stream.headersSent) {
    stream.respond({ ":status": 200, "content-type": "application/grpc", ...trailers(status) }, { endStream: true });
    return;
  }
  stream.removeAllListeners("wantTrailers");
  stream.once("wantTrailers", () => sendTrailers(stream, status));
  stream.end();
}

function sendTrailers(stream: ServerHttp2Stream, status: { readonly code: number; readonly message: string }): void {
  if (!stream.destroyed) stream.sendTrailers(trailers(status));
}

function trailers({ code, message }: { readonly code: number; readonly message: string }): Record<string, string> {
  return { "grpc-status": String(code), ...(message === "" ? {} : { "grpc-message": encodeStatusMessage(message) }) };
}
