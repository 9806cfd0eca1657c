/** The Docker Engine API on Fastify: paths, versions, bodies, errors and the access log. Routes are in `routes.ts`. */
import { Readable } from "node:stream";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { TSchema } from "typebox";
import { BerthError, messageOf } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import { ApiVersion, maximumApiVersion } from "./api-version.ts";
import type { ObservedRequest } from "../metrics/request-metrics.ts";
import type { DockerBackend } from "./backend.ts";
import { CallsInFlight } from "./calls-in-flight.ts";
import { decodeQuery, type RawQuery } from "./codecs/query.ts";
import { settleFieldNames } from "./codecs/field-names.ts";
import { validatorOf } from "./codecs/validate.ts";
import { apiErrors, errorFields } from "./errors.ts";
import { splitPath } from "./request-path.ts";
import type { Answer, Call, Route } from "./route.ts";
import { dockerRoutes } from "./routes.ts";
import { jsonPieces } from "./streams/json-pieces.ts";
import { dropUpgradeBody, readBody, routeUpgrades } from "./streams/connection.ts";

export interface DockerApiOptions {
  readonly backend: DockerBackend;
  readonly log: Logger;
  /** Served besides Docker's (Berth's own). */
  readonly routes?: readonly Route[];
  /** Told of each request when it was answered. */
  readonly observe?: (request: ObservedRequest) => void;
}

/** JSON bodies hold a seccomp profile at most; archives are streamed and not bound by this. */
const jsonBodyLimit = 16 * 1024 * 1024;

/** How long calls whose client is gone may take to end or undo what they do, when the API is closed. */
const undoLimitMs = 10_000;

/** The API, ready to be served by `listen.ts` or to be asked by `inject`. Closing it waits for the calls that it handles. */
export function createDockerApi({ backend, log, routes = [], observe }: DockerApiOptions): FastifyInstance {
  const versions = new WeakMap<object, string>();
  const app = Fastify({
    logger: false,
    bodyLimit: Number.MAX_SAFE_INTEGER,
    requestTimeout: 0,
    connectionTimeout: 0,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 8192, ignoreDuplicateSlashes: false },
    rewriteUrl: (request) => {
      const { version, url } = splitPath(request.url ?? "/", request.method);
      if (version !== undefined) versions.set(request, version);
      return url;
    },
  });
  // Bodies stay streams: each route reads its own, by schema or as an archive.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
  const headers = Object.entries(commonHeaders(backend));
  // On the response itself, where names keep their spelling and streams that take the connection find them.
  const setHeaders = ({ raw }: FastifyReply) => {
    for (const [name, value] of headers) raw.setHeader(name, value);
  };
  app.setNotFoundHandler((request, reply) => {
    setHeaders(reply);
    sendError(apiErrors.API_PAGE_NOT_FOUND({}), request, reply, log);
  });
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, log));
  const calls = new CallsInFlight();
  app.addHook("onClose", async () => {
    const left = await calls.settled(undoLimitMs);
    if (left > 0)
      log.warn({ calls: left }, "closing under calls that do not end; the next start of the engine recovers");
  });
  const served = [...dockerRoutes, ...routes];
  for (const route of served) {
    app.route({
      method: route.method,
      url: route.path.replaceAll(/\{(\w+)\}/g, ":name"),
      handler: async (request, reply) => {
        const started = performance.now();
        let kind: Answer["kind"] = "empty";
        try {
          setHeaders(reply);
          kind = await calls.track(serve(route, versions.get(request.raw), { backend, log, request, reply }));
        } catch (error) {
          sendError(error, request, reply, log);
        } finally {
          logAccess(log, request, reply, started);
          observe?.({
            method: route.method,
            route: route.path,
            status: reply.statusCode,
            seconds: (performance.now() - started) / 1000,
            streamed: kind === "streamed",
          });
        }
        return reply;
      },
    });
  }
  routeUpgrades(app.server, app);
  compileWhenIdle(served.flatMap(({ body }) => (body === undefined ? [] : [body])));
  return app;
}

/** Compiling the schema of `create` takes longer than a create: done one by one after the start, not by the first request. */
function compileWhenIdle(schemas: readonly TSchema[]): void {
  const [first, ...rest] = schemas;
  if (first === undefined) return;
  setImmediate(() => {
    validatorOf(first);
    compileWhenIdle(rest);
  }).unref();
}

interface Exchange {
  readonly backend: DockerBackend;
  readonly log: Logger;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

async function serve(route: Route, versionText: string | undefined, exchange: Exchange): Promise<Answer["kind"]> {
  const { backend, log, request, reply } = exchange;
  const version = ApiVersion.of(versionText);
  if (route.since !== undefined && !version.atLeast(route.since)) throw apiErrors.API_PAGE_NOT_FOUND({});
  const raw = request.query as RawQuery;
  const query = route.query === undefined ? {} : decodeQuery(route.query, raw);
  const body = route.body === undefined ? await dropUpgradeBody(request.raw) : await readJson(route, request);
  const { name = "" } = request.params as { readonly name?: string };
  const signal = route.outlivesClient === true ? neverAborted : clientGone(reply);
  const call: Call = { backend, ctx: { signal, log }, version, name, query, body, request, reply };
  const answer = await route.handle(call);
  send(answer, reply);
  return answer.kind;
}

const neverAborted = new AbortController().signal;

/** Aborted when the connection closes before the answer was complete. */
function clientGone(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  // It may have gone while its request was read.
  if (reply.raw.closed && !reply.raw.writableFinished) controller.abort();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}

function send(answer: Answer, reply: FastifyReply): void {
  switch (answer.kind) {
    case "json":
      sendJson(reply.code(answer.status), answer.value);
      return;
    case "json-rows":
      sendRows(reply.code(answer.status), answer.rows);
      return;
    case "empty":
      reply.code(answer.status).send();
      return;
    case "streamed":
      return;
  }
}

function sendJson(reply: FastifyReply, value: unknown): void {
  sendJsonText(reply, JSON.stringify(value));
}

/** As bytes: to a text Fastify would add a charset, and Docker's client takes only a bare `application/json` for an error. */
function sendJsonText(reply: FastifyReply, text: string): void {
  reply.header("Content-Type", "application/json").send(Buffer.from(`${text}\n`));
}

/** A long list goes in pieces: as one text it would be held several times over until the next full collection. */
function sendRows(reply: FastifyReply, rows: Iterable<string>): void {
  const pieces = Array.from(jsonPieces(rows), (piece) => Buffer.from(piece));
  pieces.push(Buffer.from("\n"));
  reply.header("Content-Type", "application/json");
  reply.send(pieces.length === 2 ? Buffer.concat(pieces) : Readable.from(pieces));
}

async function readJson(route: Route, request: FastifyRequest): Promise<unknown> {
  const text = await readBody(request.raw, jsonBodyLimit);
  if (text.length === 0) {
    if (route.bodyOptional === true) return {};
    throw apiErrors.API_INVALID_JSON({ reason: "got EOF while reading request body" });
  }
  const type = request.headers["content-type"];
  if (type !== undefined && type !== "" && !/^application\/json\s*(;|$)/i.test(type)) {
    throw apiErrors.API_CONTENT_TYPE({ type });
  }
  let body: unknown;
  try {
    body = JSON.parse(text.toString("utf8"));
  } catch (error) {
    throw apiErrors.API_INVALID_JSON({ reason: messageOf(error) });
  }
  if (body === null && route.bodyOptional === true) return {};
  if (route.body === undefined) return body;
  settleFieldNames(route.body, body);
  const problem = validatorOf(route.body).problem(body);
  if (problem !== undefined) {
    throw apiErrors.API_INVALID_BODY({
      field: problem.path === "" ? "the body" : problem.path,
      reason: problem.reason,
    });
  }
  return body;
}

/** Every error of the API leaves here: Docker's `{"message"}`, with Berth's code and hint beside it. */
function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply, log: Logger): void {
  const error = isDiskFull(thrown) ? apiErrors.API_DISK_FULL({ reason: messageOf(thrown) }, { cause: thrown }) : thrown;
  const known = error instanceof BerthError ? error : undefined;
  const status = known?.status ?? statusOf(error);
  const fields = { method: request.method, url: request.originalUrl, error: messageOf(error), cause: causes(error) };
  if (clientLeft(error, request)) log.debug(fields, "client left during a request");
  else if (known === undefined && status >= 500) {
    const stack = error instanceof Error ? error.stack : undefined;
    log.error({ ...fields, stack }, "request failed unexpectedly: a bug");
  } else if (status === 500) log.warn(fields, "request failed");
  if (reply.sent || reply.raw.headersSent) {
    reply.raw.destroy();
    return;
  }
  reply.code(status);
  if (known?.code === "API_CLIENT_TOO_OLD") {
    // A client that old expects text.
    reply.header("Content-Type", "text/plain; charset=utf-8").send(`${known.message}\n`);
    return;
  }
  sendJson(reply, errorFields(error));
}

/** A plain error of the file system: a full disk can be met wherever a file or a directory is made. */
function isDiskFull(error: unknown): boolean {
  if (error instanceof BerthError || !(error instanceof Error) || !("code" in error)) return false;
  return error.code === "ENOSPC" || error.code === "EDQUOT";
}

/** Whether the work was given up because nobody waits for its answer any more. */
function clientLeft(error: unknown, request: FastifyRequest): boolean {
  if (!request.raw.socket.destroyed || !(error instanceof Error)) return false;
  return error.name === "AbortError" || ("code" in error && error.code === "ECONNRESET");
}

/** Fastify's own errors carry a status; anything else is a bug of ours. */
function statusOf(error: unknown): number {
  if (typeof error !== "object" || error === null || !("statusCode" in error)) return 500;
  return typeof error.statusCode === "number" && error.statusCode >= 400 ? error.statusCode : 500;
}

function causes(error: unknown): readonly string[] {
  const chain: string[] = [];
  for (let at = error; at instanceof Error && at.cause !== undefined && chain.length < 8; at = at.cause) {
    chain.push(messageOf(at.cause));
  }
  return chain;
}

function commonHeaders(backend: DockerBackend): Record<string, string> {
  return {
    "Api-Version": maximumApiVersion,
    "Docker-Experimental": "false",
    Ostype: "linux",
    Server: `Berth/${backend.system.facts.version} (linux)`,
  };
}

function logAccess(log: Logger, request: FastifyRequest, reply: FastifyReply, started: number): void {
  const ms = Math.round((performance.now() - started) * 10) / 10;
  log.debug({ method: request.method, url: request.originalUrl, status: reply.statusCode, ms }, "request");
}
