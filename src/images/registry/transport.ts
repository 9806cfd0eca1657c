import http from "node:http";
import https from "node:https";
import type { Readable } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";

/** How a registry's TLS is checked. One object for each registry: connections are kept by its identity. */
export interface TlsSettings {
  /** False takes any certificate. */
  readonly verify: boolean;
  /** PEM, besides the system's. */
  readonly ca?: readonly string[];
  readonly cert?: string;
  readonly key?: string;
}

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** A stream needs a Content-Length header. */
  readonly body?: Uint8Array | Readable;
  readonly tls: TlsSettings;
  /** The peer has nothing to compute or to store: silence ends it as soon as it would end a connection in the making. */
  readonly ping?: boolean;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Read or destroy it: the connection is its. Fails when the connection is cut before its end. */
  readonly body: Readable;
  readonly url: URL;
}

export interface TransportTimeouts {
  /** For name resolution, TCP and TLS, and for the answer to a ping; milliseconds. */
  readonly connectMs: number;
  /** Without a byte in either direction; milliseconds. */
  readonly idleMs: number;
}

export const DEFAULT_TIMEOUTS: TransportTimeouts = { connectMs: 15_000, idleMs: 60_000 };

/** A peer that says nothing; `code` is as of Node's own errors. */
export class TransportTimeout extends Error {
  readonly code = "ETIMEDOUT";
}

/**
 * HTTP/1.1 to registries, with kept connections, and proxies as the environment (HTTPS_PROXY, NO_PROXY) says.
 * Follows no redirects, retries nothing: its callers do, each knowing what is safe.
 */
export class Transport implements Disposable {
  readonly #timeouts: TransportTimeouts;
  readonly #plain = new http.Agent({ keepAlive: true, proxyEnv: process.env });
  readonly #secure = new Map<TlsSettings, https.Agent>();

  constructor(timeouts: TransportTimeouts = DEFAULT_TIMEOUTS) {
    this.#timeouts = timeouts;
  }

  /** Resolves with the response's head. Rejects with Node's system errors, or {@link TransportTimeout}. */
  async send(ctx: OpContext, request: HttpRequest): Promise<HttpResponse> {
    ctx.signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
    const { method, url, headers, body } = request;
    const options = { method, headers: { "User-Agent": "berth", ...headers }, signal: ctx.signal };
    const outgoing =
      url.protocol === "https:"
        ? https.request(url, { ...options, agent: this.#agentFor(request.tls) })
        : http.request(url, { ...options, agent: this.#plain });
    this.#guardConnect(outgoing, url);
    const { connectMs, idleMs } = this.#timeouts;
    const silenceMs = request.ping === true ? Math.min(connectMs, idleMs) : idleMs;
    outgoing.setTimeout(silenceMs, () => {
      outgoing.destroy(new TransportTimeout(`${url.host} sent nothing for ${silenceMs / 1000} s`));
    });
    outgoing.on("response", (response) => {
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: response, url });
    });
    outgoing.on("error", (error) => {
      if (body !== undefined && !(body instanceof Uint8Array)) body.destroy();
      reject(ctx.signal.aborted ? ctx.signal.reason : error);
    });
    if (body === undefined || body instanceof Uint8Array) {
      outgoing.end(body);
    } else {
      body.on("error", (error) => outgoing.destroy(error));
      body.pipe(outgoing);
    }
    return await promise;
  }

  [Symbol.dispose](): void {
    this.#plain.destroy();
    for (const agent of this.#secure.values()) agent.destroy();
    this.#secure.clear();
  }

  #guardConnect(outgoing: http.ClientRequest, url: URL): void {
    const timer = setTimeout(() => {
      outgoing.destroy(
        new TransportTimeout(`no connection to ${url.host} within ${this.#timeouts.connectMs / 1000} s`),
      );
    }, this.#timeouts.connectMs);
    const connected = () => clearTimeout(timer);
    outgoing.on("socket", (socket) => {
      if (!socket.connecting) return connected();
      socket.once(url.protocol === "https:" ? "secureConnect" : "connect", connected);
    });
    outgoing.on("close", connected);
  }

  #agentFor(tls: TlsSettings): https.Agent {
    const known = this.#secure.get(tls);
    if (known !== undefined) return known;
    const { verify, ca, cert, key } = tls;
    const agent = new https.Agent({
      keepAlive: true,
      proxyEnv: process.env,
      rejectUnauthorized: verify,
      ...(ca === undefined ? {} : { ca: [...ca] }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
    this.#secure.set(tls, agent);
    return agent;
  }
}

/** A response's body, at most `limit` bytes of it; undefined when it is longer. */
export async function readBody(response: Pick<HttpResponse, "body">, limit: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response.body) {
    length += chunk.length;
    if (length > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
