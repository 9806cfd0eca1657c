/** Where the API is served: unix sockets, and TCP behind mutual TLS only. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server as HttpServer, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import type { FastifyInstance } from "fastify";
import { messageOf } from "../../base/errors.ts";
import { chmod, chown, mkdir, rm } from "../../host/files.ts";
import { apiErrors } from "./errors.ts";
import { routeUpgrades } from "./streams/connection.ts";
import { DockerResponse } from "./streams/docker-response.ts";
import { lingerFor } from "./streams/linger.ts";

export interface ListenOptions {
  /** Group id that may use unix sockets (mode 0660); undefined leaves them to root (mode 0600). */
  readonly socketGid?: number;
  /** Paths of PEM files. Without them TCP is refused. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
}

/**
 * A served API. Disposing closes its sockets and waits for what it was asked: calls that have not begun to answer get a few
 * seconds, streams (logs, attach, a build's messages) end at once, and then every handler ends or undoes what it does.
 */
export interface Listening extends AsyncDisposable {
  /** As bound: "unix:///run/berth/docker.sock", "tcp://127.0.0.1:41235". */
  readonly hosts: readonly string[];
}

/** Serves `app` on each of `hosts` (`unix://PATH`, `tcp://HOST:PORT`); all or none. */
export async function listen(
  app: FastifyInstance,
  hosts: readonly string[],
  options: ListenOptions = {},
): Promise<Listening> {
  await app.ready();
  const bound: Bound[] = [];
  const close = async () => {
    await Promise.all(bound.map((server) => server.close()));
    await app.close();
  };
  try {
    for (const host of hosts) bound.push(await bind(app, host, options));
  } catch (error) {
    await Promise.all(bound.map((server) => server.close()));
    throw error;
  }
  return { hosts: bound.map((server) => server.host), [Symbol.asyncDispose]: close };
}

interface Bound {
  readonly host: string;
  close(): Promise<void>;
}

async function bind(app: FastifyInstance, host: string, options: ListenOptions): Promise<Bound> {
  if (host.startsWith("unix://")) return await bindUnix(app, host, options);
  if (host.startsWith("tcp://")) return await bindTcp(app, host, options);
  throw apiErrors.API_HOST_INVALID({ host, reason: "it must begin with unix:// or tcp://" });
}

async function bindUnix(app: FastifyInstance, host: string, options: ListenOptions): Promise<Bound> {
  const path = host.slice("unix://".length);
  if (!path.startsWith("/")) throw apiErrors.API_HOST_INVALID({ host, reason: "the path must be absolute" });
  await mkdir(dirname(path), { recursive: true });
  await removeStale(host, path);
  const server = createServer(serverOptions, inOrder(app));
  // Made with mode 0600: nobody gets in between bind and chmod.
  const umask = process.umask(0o177);
  try {
    await listening(server, host, (ready) => server.listen({ path, backlog }, ready));
  } finally {
    process.umask(umask);
  }
  if (options.socketGid !== undefined) {
    await chown(path, 0, options.socketGid);
    await chmod(path, 0o660);
  }
  return serving(server, app, host);
}

/** A socket that a killed engine left is removed; one that answers belongs to another engine. */
async function removeStale(host: string, path: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(path, () => resolve(true));
  probe.once("error", () => resolve(false));
  const answers = await promise;
  probe.destroy();
  if (answers) throw apiErrors.API_HOST_INVALID({ host, reason: "another process serves it" });
  await rm(path, { force: true });
}

async function bindTcp(app: FastifyInstance, host: string, options: ListenOptions): Promise<Bound> {
  if (options.tls === undefined) throw apiErrors.API_TLS_REQUIRED({ host });
  const match = /^tcp:\/\/(\[[^\]]+\]|[^:/]*):(\d+)\/?$/.exec(host);
  if (match === null) throw apiErrors.API_HOST_INVALID({ host, reason: "it must be tcp://ADDRESS:PORT" });
  const address = match[1] === "" || match[1] === undefined ? "127.0.0.1" : match[1].replaceAll(/[[\]]/g, "");
  const { ca, cert, key } = options.tls;
  const files = { ca: await readFile(ca), cert: await readFile(cert), key: await readFile(key) };
  const tls = {
    ...serverOptions,
    ...files,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
  } as const;
  const server = createTlsServer(tls, inOrder(app));
  await listening(server, host, (ready) => server.listen({ port: Number(match[2]), host: address, backlog }, ready));
  const at = server.address();
  const port = typeof at === "object" && at !== null ? at.port : Number(match[2]);
  return serving(server, app, `tcp://${match[1] === "" ? address : match[1]}:${port}`);
}

/** No time limits: `docker logs -f` is one request. Headers alone must come within a minute. */
const serverOptions = {
  requestTimeout: 0,
  headersTimeout: 60_000,
  keepAliveTimeout: 60_000,
  ServerResponse: DockerResponse,
} as const;

/** Connections that wait to be taken. Past them a unix socket refuses: a thousand followers may come at once. The kernel has its own bound. */
const backlog = 4096;

/**
 * Hands over a connection's requests one by one. Node gives those that a client sent ahead all at once and only orders their
 * answers: a removal would overtake the creation in front of it.
 */
function inOrder(app: FastifyInstance): (request: IncomingMessage, response: ServerResponse) => void {
  const latest = new WeakMap<Socket, ServerResponse>();
  return (request, response) => {
    lingerFor(request);
    const before = latest.get(request.socket);
    latest.set(request.socket, response);
    if (before === undefined || before.closed) app.routing(request, response);
    else before.once("close", () => app.routing(request, response));
  };
}

async function listening(server: Server, host: string, start: (ready: () => void) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (error) => {
    reject(apiErrors.API_HOST_INVALID({ host, reason: messageOf(error) }, { cause: error }));
  });
  start(resolve);
  await promise;
}

function serving(server: HttpServer, app: FastifyInstance, host: string): Bound {
  routeUpgrades(server, app);
  // `closeAllConnections` knows nothing of sockets that left HTTP.
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const responses = new Set<ServerResponse>();
  server.on("request", (_request, response: ServerResponse) => {
    responses.add(response);
    response.once("close", () => responses.delete(response));
  });
  return {
    host,
    close: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      const unanswered = [...responses].filter((response) => !response.headersSent);
      const busy = new Set(unanswered.map(({ socket }) => socket));
      for (const socket of sockets) if (!busy.has(socket)) socket.destroy();
      await allClosed(unanswered, answerLimitMs);
      for (const socket of sockets) socket.destroy();
      await promise;
    },
  };
}

/** How long a call that was made before closing may take to be answered. */
const answerLimitMs = 5000;

async function allClosed(responses: readonly ServerResponse[], limitMs: number): Promise<void> {
  const limit = AbortSignal.timeout(limitMs);
  // Past the limit the connection is cut: its client learns that it got no answer.
  await Promise.allSettled(responses.map((response) => once(response, "close", { signal: limit })));
}
