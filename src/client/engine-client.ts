import { readFileSync } from "node:fs";
import type * as http from "node:http";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { BerthError, messageOf } from "../base/errors.ts";
import { type EngineAddress, parseHost } from "./address.ts";
import { clientErrors } from "./errors.ts";

export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface CallOptions {
  readonly query?: Query;
  /** Sent as JSON; a stream is sent as it is (a tar). */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Readable;
}

/** A connection that left HTTP: raw bytes both ways (attach, exec). Ending the socket half-closes it. */
export interface Upgraded {
  readonly socket: Socket;
  /** Bytes that came with the answer's head. */
  readonly head: Buffer;
  readonly contentType: string;
}

export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The version of the Docker Engine API that this client speaks. */
export const apiVersion = "1.51";

/** Speaks the Docker Engine API (and Berth's own routes) over a unix socket or TCP. */
export class EngineClient implements Disposable {
  readonly host: string;
  readonly #address: EngineAddress;
  readonly #tls: TlsFiles | undefined;
  #transport: Promise<Transport> | undefined;
  readonly #prefix: string;

  constructor(host: string, tls?: TlsFiles, version: string = apiVersion) {
    this.host = host;
    this.#address = parseHost(host);
    this.#tls = tls;
    this.#prefix = `/v${version}`;
  }

  /** Calls and reads a JSON answer; undefined for an empty one. Rejects with the engine's own error. */
  async call<T = unknown>(method: string, path: string, options: CallOptions = {}): Promise<T> {
    const answer = await this.stream(method, path, options);
    const text = await readAll(answer.body);
    if (text === "") return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      throw clientErrors.ANSWER_UNREADABLE({ what: `${method} ${path}`, reason: messageOf(error) }, { cause: error });
    }
  }

  /** Calls and hands out the answer's body as it comes. Rejects for a status of 400 and above. */
  async stream(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
    const request = await this.#request(method, path, options);
    request.once("response", resolve);
    request.once("error", (error) => reject(this.#unreachable(error)));
    send(request, options.body);
    const response = await promise;
    const status = response.statusCode ?? 0;
    if (status >= 400) throw await engineError(status, response, `${method} ${path}`);
    return { status, headers: response.headers, body: response };
  }

  /** Calls a route that turns the connection into a raw stream. */
  async upgrade(method: string, path: string, options: CallOptions = {}): Promise<Upgraded> {
    const { promise, resolve, reject } = Promise.withResolvers<Upgraded>();
    const headers = { ...options.headers, Connection: "Upgrade", Upgrade: "tcp" };
    const request = await this.#request(method, path, { ...options, headers });
    request.once("upgrade", (response, socket: Socket, head) =>
      resolve({ socket, head, contentType: response.headers["content-type"] ?? "" }),
    );
    request.once("response", (response) => {
      void engineError(response.statusCode ?? 0, response, `${method} ${path}`).then(reject, reject);
    });
    request.once("error", (error) => reject(this.#unreachable(error)));
    send(request, options.body);
    return await promise;
  }

  [Symbol.dispose](): void {
    void this.#transport?.then(({ agent }) => agent.destroy());
  }

  async #request(method: string, path: string, options: CallOptions): Promise<http.ClientRequest> {
    const address = this.#address;
    this.#transport ??= openTransport(address, this.#tls);
    const { agent, request } = await this.#transport;
    const common = {
      method,
      path: `${path.startsWith("/berth/") ? "" : this.#prefix}${path}${queryText(options.query)}`,
      agent,
      headers: { Host: "berth", ...bodyHeaders(options.body), ...options.headers },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    };
    return request({
      ...common,
      ...(address.kind === "unix" ? { socketPath: address.path } : { host: address.host, port: address.port }),
    });
  }

  #unreachable(error: NodeJS.ErrnoException): Error {
    if (error.name === "AbortError") return error;
    const reasons: Record<string, string> = {
      ENOENT: "no such socket",
      ECONNREFUSED: "nobody listens there",
      EACCES: "permission denied (use sudo, or join the socket's group)",
    };
    const reason = reasons[error.code ?? ""] ?? error.message;
    return clientErrors.ENGINE_UNREACHABLE({ host: this.host, reason }, { cause: error });
  }
}

interface Transport {
  readonly agent: http.Agent;
  readonly request: typeof http.request;
}

/** Loads Node's HTTP when it is first needed: a third of the time that `berth --help` may take. */
async function openTransport(address: EngineAddress, tls: TlsFiles | undefined): Promise<Transport> {
  if (address.kind === "unix" || !address.tls) {
    const { Agent, request } = await import("node:http");
    return { agent: new Agent({ keepAlive: true }), request };
  }
  const { Agent, request } = await import("node:https");
  const files = tls && { ca: readFileSync(tls.ca), cert: readFileSync(tls.cert), key: readFileSync(tls.key) };
  return { agent: new Agent({ keepAlive: true, ...files }), request };
}

function bodyHeaders(body: unknown): Record<string, string> {
  if (body === undefined) return {};
  return { "Content-Type": body instanceof Readable ? "application/x-tar" : "application/json" };
}

function send(request: http.ClientRequest, body: unknown): void {
  if (body === undefined) request.end();
  else if (body instanceof Readable) body.on("error", (error) => request.destroy(error)).pipe(request);
  else request.end(JSON.stringify(body));
}

function queryText(query: Query | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const item of Array.isArray(value) ? value : [value]) parameters.append(name, String(item));
  }
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}

/** The whole of an answer, as text. */
export async function readAll(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

async function engineError(status: number, response: Readable, what: string): Promise<BerthError> {
  const text = await readAll(response);
  let message = text.trim();
  let hint: string | undefined;
  let code = "ENGINE_ERROR";
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === "object" && body !== null) {
      if ("message" in body) message = String(body.message);
      if ("hint" in body) hint = String(body.hint);
      if ("code" in body) code = String(body.code);
    }
  } catch {
    // Not JSON (a proxy's page, an old engine): its text is the best message there is.
  }
  return new BerthError(code, status, message === "" ? `${what} answered ${status}` : message, hint);
}
