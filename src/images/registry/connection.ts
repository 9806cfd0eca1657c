import { type IncomingHttpHeaders, STATUS_CODES } from "node:http";
import type { Readable } from "node:stream";
import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { imageErrors } from "../errors.ts";
import { type Authorizer, errorDetail, type Scope } from "./authorizer.ts";
import type { Endpoint } from "./endpoints.ts";
import { networkFailure } from "./network-failure.ts";
import { parseRetryAfter, type Retries, TransientFailure, withRetries } from "./retry.ts";
import { type HttpRequest, type HttpResponse, readBody, type Transport } from "./transport.ts";

export interface RegistryRequest {
  readonly method: HttpRequest["method"];
  /** Below "/v2/", or a whole URL that the registry gave (an upload's location). */
  readonly path: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Called for each try. */
  readonly body?: () => Uint8Array | Promise<Readable>;
}

const MAX_REDIRECTS = 5;
const ERROR_BODY_LIMIT = 64 << 10;
/** Statuses that another try may mend. */
const TRANSIENT_STATUSES: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/** One registry that answered: its URL with the scheme that works, and who we are to it. */
export class Connection {
  readonly endpoint: Endpoint;
  readonly retries: Retries;
  readonly #transport: Transport;
  readonly #authorizer: Authorizer;

  constructor(parts: {
    readonly endpoint: Endpoint;
    readonly retries: Retries;
    readonly transport: Transport;
    readonly authorizer: Authorizer;
  }) {
    this.endpoint = parts.endpoint;
    this.retries = parts.retries;
    this.#transport = parts.transport;
    this.#authorizer = parts.authorizer;
  }

  /** Sends with retries. The response may have any status but a transient one; the caller reads or destroys its body. */
  async request(ctx: OpContext, scope: Scope, request: RegistryRequest): Promise<HttpResponse> {
    return await withRetries(ctx, this.retries, async () => await this.attempt(ctx, scope, request));
  }

  /** One try, for callers that resume by themselves: throws a {@link TransientFailure} where another may help. */
  async attempt(ctx: OpContext, scope: Scope, request: RegistryRequest): Promise<HttpResponse> {
    try {
      const response = await this.#authorised(ctx, scope, request);
      if (!TRANSIENT_STATUSES.has(response.status)) return response;
      throw await this.#transient(request, response);
    } catch (error) {
      throw networkFailure(error, this.endpoint.host, ctx.signal);
    }
  }

  /** Tries who we are, for its own sake (`docker login`). Resolves with the identity token that the registry gives for the password. */
  async login(ctx: OpContext): Promise<string | undefined> {
    const request: RegistryRequest = { method: "GET", path: "" };
    const url = this.#resolve("").href;
    try {
      const identityToken = await this.#authorizer.login(ctx);
      const response = await this.request(ctx, "", request);
      response.body.resume();
      if (response.status === 200) return identityToken;
      const reason = `status: ${response.status} ${STATUS_CODES[response.status] ?? ""}`;
      throw imageErrors.LOGIN_REFUSED({ url, reason: reason.trimEnd() });
    } catch (error) {
      if (!isBerthError(error, "REGISTRY_UNAUTHORIZED")) throw error;
      throw imageErrors.LOGIN_REFUSED({ url, reason: error.message }, { cause: error });
    }
  }

  /** The error for a status that the caller did not expect. Reads the body. */
  async failure(request: RegistryRequest, response: HttpResponse): Promise<Error> {
    const detail = await detailOf(response);
    if (response.status === 401) {
      return imageErrors.REGISTRY_UNAUTHORIZED({ host: this.endpoint.host, detail: detail || "unauthorized" });
    }
    return imageErrors.REGISTRY_FAILED({ request: this.#describe(request), status: response.status, detail });
  }

  /** Whether `url` is this registry: what it names elsewhere must not get its credentials. */
  isOwn(url: URL): boolean {
    return url.origin === this.endpoint.url.origin;
  }

  async #authorised(ctx: OpContext, scope: Scope, request: RegistryRequest): Promise<HttpResponse> {
    const response = await this.#send(ctx, request, await this.#authorizer.header(ctx, scope));
    if (response.status !== 401 || !this.#authorizer.learn(header(response.headers, "www-authenticate")))
      return response;
    response.body.destroy();
    return await this.#send(ctx, request, await this.#authorizer.header(ctx, scope, { fresh: true }));
  }

  async #send(ctx: OpContext, request: RegistryRequest, authorization: string | undefined): Promise<HttpResponse> {
    let url = this.#resolve(request.path);
    for (let redirects = 0; ; redirects += 1) {
      const body = await request.body?.();
      const response = await this.#transport.send(ctx, {
        method: request.method,
        url,
        headers: {
          ...request.headers,
          ...(authorization !== undefined && this.isOwn(url) ? { Authorization: authorization } : {}),
        },
        ...(body === undefined ? {} : { body }),
        tls: this.endpoint.tls,
      });
      const location = header(response.headers, "location");
      const follows = request.method === "GET" || request.method === "HEAD";
      if (!follows || ![301, 302, 303, 307, 308].includes(response.status) || location === undefined) return response;
      response.body.destroy();
      if (redirects >= MAX_REDIRECTS) throw this.#invalid(`it redirects more than ${MAX_REDIRECTS} times`);
      url = this.#redirect(url, location);
    }
  }

  #redirect(from: URL, location: string): URL {
    if (!URL.canParse(location, from.href)) throw this.#invalid(`it redirects to "${location}"`);
    const url = new URL(location, from);
    const lessSafe = from.protocol === "https:" && url.protocol !== "https:";
    if (!/^https?:$/.test(url.protocol) || (lessSafe && !this.endpoint.insecure)) {
      throw this.#invalid(`it redirects from ${from.protocol}// to ${url.protocol}//${url.host}`);
    }
    return url;
  }

  async #transient(request: RegistryRequest, response: HttpResponse): Promise<TransientFailure> {
    const detail = await detailOf(response);
    const { status } = response;
    const retryAfter = parseRetryAfter(header(response.headers, "retry-after"), this.retries.clock.now());
    return new TransientFailure(
      () =>
        status === 429
          ? imageErrors.REGISTRY_TOO_MANY_REQUESTS({ host: this.endpoint.host, detail })
          : imageErrors.REGISTRY_FAILED({ request: this.#describe(request), status, detail }),
      `status ${status}`,
      retryAfter,
    );
  }

  #resolve(path: string | URL): URL {
    if (path instanceof URL) return path;
    const base = this.endpoint.url.pathname.replace(/\/$/, "");
    return new URL(`${base}/v2/${path}`, this.endpoint.url);
  }

  /** As Go's net/http words it, which is what Docker's users know: `Head "https://…"`. Without the query: it can hold secrets. */
  #describe({ method, path }: RegistryRequest): string {
    const url = this.#resolve(path);
    return `${method.charAt(0)}${method.slice(1).toLowerCase()} "${url.origin}${url.pathname}"`;
  }

  #invalid(reason: string): Error {
    return imageErrors.REGISTRY_RESPONSE_INVALID({ host: this.endpoint.host, reason });
  }
}

export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

async function detailOf(response: HttpResponse): Promise<string> {
  try {
    const body = await readBody(response, ERROR_BODY_LIMIT);
    return body === undefined ? "" : errorDetail(body);
  } catch {
    // The status is the news; a body that broke off adds nothing.
    return "";
  }
}
