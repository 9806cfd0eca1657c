/**
 * Connections that leave HTTP: attach, exec and the like. A client asks with `Upgrade: tcp` and gets 101; an older one
 * gets 200 and a body without a length, and sends its input as the request's body.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { unreadBytes } from "../../../host/unread-bytes.ts";
import type { ApiVersion } from "../api-version.ts";
import { apiErrors } from "../errors.ts";
import type { Call } from "../route.ts";
import { DockerResponse, spelt } from "./docker-response.ts";

/** Both ways of a connection that left HTTP. Its `input` ends when the client half-closes; end `output` to close. */
export interface RawConnection {
  readonly input: Readable;
  readonly output: Writable;
  /** Aborted when the client is gone, or the connection has been closed. */
  readonly gone: AbortSignal;
  /**
   * The client has read the answer's head, or takes its time. docker-py and others lose what they read together with it: a command that
   * is quicker than its client waits here with its output.
   */
  headRead(): Promise<void>;
  /** Ends the output when it has been sent, and lets go of what the client still sends. */
  close(): void;
}

interface UpgradeRequest {
  readonly socket: Socket;
  /** Bytes that came after the request's head and have not been read yet. */
  head: Buffer;
}

const upgrades = new WeakMap<IncomingMessage, UpgradeRequest>();

/** Routes `Upgrade:` requests of `server` like any other; a handler then takes the socket, or answers plain HTTP. */
export function routeUpgrades(server: Pick<Server, "on">, app: FastifyInstance): void {
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const response = new DockerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    upgrades.set(request, { socket, head });
    // Node's own listeners left with its parser: an unheard error would end the process.
    socket.on("error", () => socket.destroy());
    response.once("finish", () => {
      response.detachSocket(socket);
      socket.end();
      socket.resume();
    });
    app.routing(request, response);
  });
}

/**
 * The body of a request, whole. Node doesn't parse one of an `Upgrade:` request: it is cut from the socket by its
 * length or its chunks, and what follows is left for {@link takeConnection}.
 */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > limit) throw apiErrors.API_BODY_TOO_LARGE({ limit });
  const upgrade = upgrades.get(request);
  if (upgrade !== undefined) return await readUpgradeBody(request, upgrade, declared, limit);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    const bytes: Buffer = chunk;
    size += bytes.length;
    if (size > limit) throw apiErrors.API_BODY_TOO_LARGE({ limit });
    chunks.push(bytes);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

async function readUpgradeBody(
  request: IncomingMessage,
  upgrade: UpgradeRequest,
  length: number,
  limit: number,
): Promise<Buffer> {
  const chunked = request.headers["transfer-encoding"] !== undefined;
  return chunked ? await takeChunks(upgrade, limit) : await takeBytes(upgrade, length);
}

/**
 * Lets go of what a client sends with a request that takes no body (dockerode: its options), so that it isn't taken for the
 * stream's first bytes.
 */
export async function dropUpgradeBody(request: IncomingMessage): Promise<undefined> {
  const upgrade = upgrades.get(request);
  if (upgrade === undefined) return;
  if (request.headers["transfer-encoding"] === undefined) {
    await readBody(request, jsonLimit);
    return;
  }
  // Clients that stream say "chunked", and may send the end of it never: it is waited for only where it has begun.
  const { head } = upgrade;
  if (lastChunk.subarray(0, head.length).equals(head.subarray(0, lastChunk.length)) && head.length > 0) {
    await takeBytes(upgrade, lastChunk.length);
  }
}

const lastChunk = Buffer.from("0\r\n\r\n");
/** Bytes of a chunk's line or of all chunks together: what an upgrade's body may hold is a few words of JSON. */
const jsonLimit = 1024 * 1024;

async function takeBytes(upgrade: UpgradeRequest, length: number): Promise<Buffer> {
  while (upgrade.head.length < length) await receive(upgrade);
  const body = upgrade.head.subarray(0, length);
  upgrade.head = upgrade.head.subarray(length);
  return body;
}

/** A chunked body (RFC 9112, section 7.1) without its trailers. */
async function takeChunks(upgrade: UpgradeRequest, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let size = 0; ; ) {
    const length = Number.parseInt(await takeLine(upgrade, limit), 16);
    if (!(length >= 0)) throw apiErrors.API_BAD_REQUEST({ message: "the request's body has a chunk without a length" });
    if (length === 0) break;
    size += length;
    if (size > limit) throw apiErrors.API_BODY_TOO_LARGE({ limit });
    chunks.push(await takeBytes(upgrade, length));
    await takeLine(upgrade, limit);
  }
  while ((await takeLine(upgrade, limit)) !== "");
  return Buffer.concat(chunks);
}

async function takeLine(upgrade: UpgradeRequest, limit: number): Promise<string> {
  let end = upgrade.head.indexOf("\r\n");
  for (; end < 0; end = upgrade.head.indexOf("\r\n")) {
    if (upgrade.head.length > limit) throw apiErrors.API_BODY_TOO_LARGE({ limit });
    await receive(upgrade);
  }
  const line = upgrade.head.toString("latin1", 0, end);
  upgrade.head = upgrade.head.subarray(end + 2);
  return line;
}

async function receive(upgrade: UpgradeRequest): Promise<void> {
  const { socket } = upgrade;
  const chunk: Buffer | null = socket.read();
  if (chunk !== null) upgrade.head = Buffer.concat([upgrade.head, chunk]);
  else if (socket.readableEnded || socket.destroyed) {
    throw apiErrors.API_BAD_REQUEST({ message: "the request's body ended before its length" });
  } else await readableOrClosed(socket);
}

function readableOrClosed(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const settle = () => {
    socket.off("readable", settle).off("close", settle).off("end", settle);
    resolve();
  };
  socket.on("readable", settle).on("close", settle).on("end", settle);
  return promise;
}

export const rawStreamType = "application/vnd.docker.raw-stream";
export const multiplexedStreamType = "application/vnd.docker.multiplexed-stream";

/** Since 1.42 the type says whether output is framed by stream. */
export function streamType(version: ApiVersion, tty: boolean): string {
  return tty || !version.atLeast(42) ? rawStreamType : multiplexedStreamType;
}

/** Takes the connection out of HTTP, with the head that Docker sends. */
export function takeConnection(call: Call, contentType: string): RawConnection {
  const { request, reply } = call;
  reply.hijack();
  const upgrade = upgrades.get(request.raw);
  if (upgrade === undefined) return takeResponse(request.raw, reply.raw);
  const { socket, head } = upgrade;
  reply.raw.detachSocket(socket);
  socket.setTimeout(0);
  socket.setNoDelay(true);
  socket.write(
    `HTTP/1.1 101 UPGRADED\r\nContent-Type: ${contentType}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n` +
      `${headerLines(reply.raw)}\r\n`,
  );
  return takeSocket(socket, head);
}

/** The headers that every answer has. */
function headerLines(response: ServerResponse): string {
  return response
    .getHeaderNames()
    .map((name) => `${spelt(name)}: ${String(response.getHeader(name))}\r\n`)
    .join("");
}

/** The bare socket of an upgrade request, for a protocol with its own handshake. */
export function takeUpgradeSocket(call: Call): RawConnection & { readonly socket: Socket } {
  const upgrade = upgrades.get(call.request.raw);
  if (upgrade === undefined) throw apiErrors.API_BAD_REQUEST({ message: "this route needs an Upgrade request" });
  call.reply.hijack();
  call.reply.raw.detachSocket(upgrade.socket);
  return { ...takeSocket(upgrade.socket, upgrade.head), socket: upgrade.socket };
}

/** The socket of a granted upgrade to HTTP/2, which begins on it at once. */
export function takeHttp2Socket(call: Call): Socket {
  const { socket } = takeUpgradeSocket(call);
  socket.setTimeout(0);
  socket.write("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
  return socket;
}

function takeSocket(socket: Socket, head: Buffer): RawConnection {
  if (head.length > 0) socket.unshift(head);
  const gone = new AbortController();
  socket.once("close", () => gone.abort());
  return {
    input: socket,
    output: socket,
    gone: gone.signal,
    headRead: () => peerHasRead(socket),
    close: () => {
      socket.end();
      // Reads on, so that the client's own end is seen and the socket closes.
      socket.resume();
    },
  };
}

function takeResponse(request: IncomingMessage, response: ServerResponse): RawConnection {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  // Docker's raw stream has neither a length nor chunks: the end of the connection is its end.
  response.useChunkedEncodingByDefault = false;
  response.shouldKeepAlive = false;
  response.writeHead(200, { "Content-Type": rawStreamType });
  response.flushHeaders();
  return {
    input: request,
    output: response,
    gone: gone.signal,
    headRead: () => peerHasRead(request.socket),
    close: () => void response.end(),
  };
}

/** A client that has not read by then reads late, or never. */
const headReadLimitMs = 250;

async function peerHasRead(socket: Socket): Promise<void> {
  const until = performance.now() + headReadLimitMs;
  for (let pauseMs = 1; (unreadBytes(socket) ?? 0) > 0 && performance.now() < until; pauseMs *= 2) {
    if (socket.destroyed) return;
    await delay(Math.min(pauseMs, 20));
  }
}
