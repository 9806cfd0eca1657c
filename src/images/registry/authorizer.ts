import type { Clock } from "../../base/clock.ts";
import type { OpContext } from "../../base/op-context.ts";
import { isRecord, parseJson } from "../documents.ts";
import { imageErrors } from "../errors.ts";
import type { RegistryAuth } from "../image-service.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import type { Endpoint } from "./endpoints.ts";
import { type HttpRequest, type HttpResponse, readBody } from "./transport.ts";

/** What a token allows: `repository:library/debian:pull` (distribution, token scope); several with a space between. */
export type Scope = string;

const DEFAULT_TOKEN_SECONDS = 60;
/** A token is renewed this long before it ends. */
const TOKEN_MARGIN_MS = 5_000;
const TOKEN_RESPONSE_LIMIT = 1 << 20;
const CLIENT_ID = "berth";

/** Sends a request with the client's retries, without authorization. */
export type Send = (ctx: OpContext, request: HttpRequest) => Promise<HttpResponse>;

/**
 * Answers one registry's challenges: none, Basic, or Bearer with a token from the realm that it names. Tokens are kept until
 * they end.
 */
export class Authorizer {
  readonly #send: Send;
  readonly #endpoint: Endpoint;
  readonly #auth: RegistryAuth | undefined;
  readonly #clock: Clock;
  /** Requests under way: the layers of one pull ask at the same time. */
  readonly #fetching = new Map<Scope, Promise<string>>();
  readonly #tokens = new Map<Scope, { readonly token: string; readonly expiresAt: number }>();
  #challenge: Challenge | undefined;

  constructor(send: Send, endpoint: Endpoint, auth: RegistryAuth | undefined, clock: Clock) {
    this.#send = send;
    this.#endpoint = endpoint;
    this.#auth = auth;
    this.#clock = clock;
  }

  /** Remembers what a 401 asked for; false when it is nothing that we can answer. */
  learn(header: string | undefined): boolean {
    const challenges = parseChallenges(header ?? "");
    this.#challenge =
      challenges.find(({ scheme, parameters }) => scheme === "bearer" && parameters["realm"] !== undefined) ??
      challenges.find(({ scheme }) => scheme === "basic");
    return this.#challenge !== undefined;
  }

  /** The Authorization header for `scope`; undefined as long as the registry has not asked. `fresh` asks for a new token. */
  async header(ctx: OpContext, scope: Scope, options: { readonly fresh?: boolean } = {}): Promise<string | undefined> {
    if (this.#auth?.registryToken !== undefined && this.#auth.registryToken !== "") {
      return `Bearer ${this.#auth.registryToken}`;
    }
    if (this.#challenge === undefined) return undefined;
    if (this.#challenge.scheme === "basic") {
      const basic = this.#basic();
      if (basic === undefined) {
        throw imageErrors.REGISTRY_UNAUTHORIZED({ host: this.#endpoint.host, detail: "no basic auth credentials" });
      }
      return basic;
    }
    const known = options.fresh === true ? undefined : this.#tokens.get(scope);
    if (known !== undefined && known.expiresAt > this.#clock.now()) return `Bearer ${known.token}`;
    const fetching = this.#fetching.get(scope) ?? this.#fetchToken(ctx, this.#challenge, scope);
    this.#fetching.set(scope, fetching);
    try {
      return `Bearer ${await fetching}`;
    } finally {
      this.#fetching.delete(scope);
    }
  }

  /** Logs in where the registry names a token server: the refresh token that stands for the password, when it gives one. */
  async login(ctx: OpContext): Promise<string | undefined> {
    if (this.#challenge?.scheme !== "bearer") return undefined;
    const body = await this.#askForToken(ctx, this.#challenge, "", { offline: true });
    this.#keep("", body);
    const json = parseJson(body, `token of ${this.#endpoint.host}`);
    const refresh = isRecord(json) ? json["refresh_token"] : undefined;
    return typeof refresh === "string" && refresh !== "" ? refresh : undefined;
  }

  async #fetchToken(ctx: OpContext, challenge: Challenge, scope: Scope): Promise<string> {
    return this.#keep(scope, await this.#askForToken(ctx, challenge, scope));
  }

  async #askForToken(
    ctx: OpContext,
    challenge: Challenge,
    scope: Scope,
    options: { readonly offline?: boolean } = {},
  ): Promise<Uint8Array> {
    const realm = this.#realm(challenge);
    const service = challenge.parameters["service"] ?? "";
    const response = await this.#send(ctx, this.#tokenRequest(realm, service, scope, options.offline ?? false));
    const body = await readBody(response, TOKEN_RESPONSE_LIMIT);
    if (response.status !== 200 || body === undefined) {
      const detail = body === undefined ? "" : errorDetail(body);
      if (response.status === 401 || response.status === 403) {
        throw imageErrors.REGISTRY_UNAUTHORIZED({
          host: this.#endpoint.host,
          detail: `unauthorized: ${detail || "incorrect username or password"}`,
        });
      }
      throw imageErrors.REGISTRY_FAILED({
        request: `Get "${realm.origin}${realm.pathname}"`,
        status: response.status,
        detail,
      });
    }
    return body;
  }

  #keep(scope: Scope, body: Uint8Array): string {
    const json = parseJson(body, `token of ${this.#endpoint.host}`);
    const fields = isRecord(json) ? json : {};
    const token = [fields["token"], fields["access_token"]].find((value) => typeof value === "string" && value !== "");
    if (typeof token !== "string") {
      throw imageErrors.REGISTRY_RESPONSE_INVALID({
        host: this.#endpoint.host,
        reason: "its token server gave no token",
      });
    }
    const seconds = typeof fields["expires_in"] === "number" ? fields["expires_in"] : DEFAULT_TOKEN_SECONDS;
    this.#tokens.set(scope, { token, expiresAt: this.#clock.now() + seconds * 1000 - TOKEN_MARGIN_MS });
    return token;
  }

  /** A refresh token is posted (OAuth 2), a password goes as Basic (distribution, token authentication). */
  #tokenRequest(realm: URL, service: string, scope: Scope, offline: boolean): HttpRequest {
    const tls = this.#endpoint.tls;
    const identity = this.#auth?.identityToken;
    if (identity !== undefined && identity !== "") {
      const form = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: identity,
        service,
        scope,
        client_id: CLIENT_ID,
      });
      const headers = { "Content-Type": "application/x-www-form-urlencoded" };
      return { method: "POST", url: realm, headers, body: Buffer.from(form.toString()), tls };
    }
    const url = new URL(realm);
    if (service !== "") url.searchParams.set("service", service);
    for (const one of scope.split(" ").filter((one) => one !== "")) url.searchParams.append("scope", one);
    if (offline) {
      url.searchParams.set("offline_token", "true");
      url.searchParams.set("client_id", CLIENT_ID);
    }
    const basic = this.#basic();
    if (basic !== undefined) url.searchParams.set("account", this.#auth?.username ?? "");
    return { method: "GET", url, headers: basic === undefined ? {} : { Authorization: basic }, tls };
  }

  /** Credentials never leave TLS for a realm that a TLS registry names. */
  #realm(challenge: Challenge): URL {
    const text = challenge.parameters["realm"] ?? "";
    const realm = URL.canParse(text) ? new URL(text) : undefined;
    const { host, url, insecure } = this.#endpoint;
    if (realm === undefined || (realm.protocol !== "https:" && realm.protocol !== "http:")) {
      throw imageErrors.REGISTRY_RESPONSE_INVALID({ host, reason: `its token realm "${text}" is not a URL` });
    }
    if (realm.protocol === "http:" && url.protocol === "https:" && !insecure) {
      throw imageErrors.REGISTRY_RESPONSE_INVALID({
        host,
        reason: `its token realm ${realm.origin} is without TLS: credentials are not sent there`,
      });
    }
    return realm;
  }

  #basic(): string | undefined {
    const { username, password } = this.#auth ?? {};
    if (username === undefined || username === "" || password === undefined) return undefined;
    return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  }
}

/** The first message of an error body (distribution, "Errors"), or what a token server says. */
export function errorDetail(body: Uint8Array): string {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    // Proxies answer in HTML; the status says enough then.
    return "";
  }
  if (!isRecord(json)) return "";
  const errors = json["errors"];
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (isRecord(first)) {
    const message = typeof first["message"] === "string" ? first["message"] : "";
    const code = typeof first["code"] === "string" ? first["code"].toLowerCase().replaceAll("_", " ") : "";
    return [code, message].filter((part) => part !== "").join(": ");
  }
  const details = json["details"] ?? json["message"];
  return typeof details === "string" ? details : "";
}
