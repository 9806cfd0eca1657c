import type { Clock } from "../../base/clock.ts";
import type { OpContext } from "../../base/op-context.ts";
import { imageErrors } from "../errors.ts";
import type { RegistryAuth } from "../image-service.ts";
import type { Reference } from "../reference.ts";
import { Authorizer } from "./authorizer.ts";
import { Connection, header } from "./connection.ts";
import type { Endpoint, Endpoints } from "./endpoints.ts";
import { codeOf, isNotTls, networkFailure } from "./network-failure.ts";
import { Repository } from "./repository.ts";
import { type Retries, type RetryPolicy, withRetries } from "./retry.ts";
import type { HttpRequest, HttpResponse, Transport } from "./transport.ts";

/** Opens repositories on registries: finds the scheme, retries while they are down, answers their challenges. */
export class RegistryClient {
  readonly #endpoints: Endpoints;
  readonly #transport: Transport;
  readonly #retries: Retries;
  /** Scheme that worked last, for hosts where both are allowed. */
  readonly #schemes = new Map<string, string>();

  constructor(parts: {
    readonly endpoints: Endpoints;
    readonly transport: Transport;
    readonly policy: RetryPolicy;
    readonly clock: Clock;
  }) {
    this.#endpoints = parts.endpoints;
    this.#transport = parts.transport;
    this.#retries = { policy: parts.policy, clock: parts.clock };
  }

  /**
   * Where `reference` can be pulled from, lazily and in order: mirrors, then the registry. A mirror that can't be reached is
   * logged and left out; the registry's failure is the caller's.
   */
  async *forPull(ctx: OpContext, reference: Reference, auth: RegistryAuth | undefined): AsyncGenerator<Repository> {
    for (const endpoint of await this.#endpoints.forPull(reference)) {
      try {
        // The registry's credentials are not the mirror's business.
        const connection = await this.#connect(ctx, endpoint, endpoint.mirror ? endpoint.auth : auth);
        yield new Repository(connection, reference.path, "pull");
      } catch (error) {
        if (!endpoint.mirror || ctx.signal.aborted) throw error;
        ctx.log.warn({ mirror: endpoint.host, error: String(error) }, "registry mirror is out of order");
      }
    }
  }

  async forPush(ctx: OpContext, reference: Reference, auth: RegistryAuth | undefined): Promise<Repository> {
    const connection = await this.#connect(ctx, await this.#endpoints.forPush(reference), auth);
    return new Repository(connection, reference.path, "pull,push");
  }

  /** Tries credentials on a registry, by its domain. Resolves with an identity token, when the registry gives one. */
  async login(ctx: OpContext, domain: string, auth: RegistryAuth): Promise<string | undefined> {
    const connection = await this.#connect(ctx, await this.#endpoints.forRegistry(domain), auth);
    return await connection.login(ctx);
  }

  async #connect(ctx: OpContext, endpoint: Endpoint, auth: RegistryAuth | undefined): Promise<Connection> {
    // A mirror is only a short cut: one that is down must not hold up what the registry would answer at once.
    const retries = endpoint.mirror
      ? { ...this.#retries, policy: { ...this.#retries.policy, attempts: 2 } }
      : this.#retries;
    return await withRetries(ctx, retries, async () => {
      try {
        return await this.#tryUrls(ctx, endpoint, auth);
      } catch (error) {
        throw networkFailure(error, endpoint.host, ctx.signal);
      }
    });
  }

  async #tryUrls(ctx: OpContext, endpoint: Endpoint, auth: RegistryAuth | undefined): Promise<Connection> {
    const urls = this.#candidates(endpoint);
    for (const [index, url] of urls.entries()) {
      try {
        const connection = await this.#ping(ctx, { ...endpoint, url }, auth);
        this.#schemes.set(endpoint.url.host, url.protocol);
        return connection;
      } catch (error) {
        const isLast = index === urls.length - 1;
        const mayBePlain = isNotTls(error) || ["ECONNREFUSED", "ECONNRESET"].includes(codeOf(error));
        if (isLast || !mayBePlain) throw error;
      }
    }
    throw new Error("unreachable: an endpoint has a URL at least");
  }

  #candidates(endpoint: Endpoint): readonly URL[] {
    if (endpoint.mirror || !endpoint.insecure) return [endpoint.url];
    const plain = new URL(endpoint.url);
    plain.protocol = "http:";
    // https://host:80 keeps its port as http://host, which is the same.
    return this.#schemes.get(endpoint.url.host) === "http:" ? [plain, endpoint.url] : [endpoint.url, plain];
  }

  async #ping(ctx: OpContext, endpoint: Endpoint, auth: RegistryAuth | undefined): Promise<Connection> {
    const send = async (ctx: OpContext, request: HttpRequest): Promise<HttpResponse> => {
      try {
        return await this.#transport.send(ctx, request);
      } catch (error) {
        throw networkFailure(error, request.url.host, ctx.signal);
      }
    };
    const authorizer = new Authorizer(send, endpoint, auth, this.#retries.clock);
    const base = endpoint.url.pathname.replace(/\/$/, "");
    const response = await this.#transport.send(ctx, {
      method: "GET",
      url: new URL(`${base}/v2/`, endpoint.url),
      headers: {},
      tls: endpoint.tls,
      ping: true,
    });
    const connection = new Connection({ endpoint, retries: this.#retries, transport: this.#transport, authorizer });
    if (response.status === 401) {
      response.body.resume();
      authorizer.learn(header(response.headers, "www-authenticate"));
      return connection;
    }
    if (response.status === 200) {
      response.body.resume();
      return connection;
    }
    if (response.status === 404) {
      response.body.resume();
      throw imageErrors.REGISTRY_RESPONSE_INVALID({
        host: endpoint.host,
        reason: "it does not speak the registry API v2",
      });
    }
    response.body.resume();
    // Also 5xx: the first real request asks again, with retries.
    return connection;
  }
}
