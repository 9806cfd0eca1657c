import type { Readable } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";
import type { Descriptor } from "../../schema/image.ts";
import { sha256 } from "../chain-id.ts";
import { isRecord, parseJson } from "../documents.ts";
import { imageErrors } from "../errors.ts";
import { ACCEPTED_MANIFESTS } from "../media-types.ts";
import { errorDetail } from "./authorizer.ts";
import { type Connection, header, type RegistryRequest } from "./connection.ts";
import { networkFailure } from "./network-failure.ts";
import { withRetries } from "./retry.ts";
import { type HttpResponse, readBody } from "./transport.ts";

export interface RemoteManifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

const MANIFEST_LIMIT = 4 << 20;
const TAG_LIST_LIMIT = 4 << 20;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** One repository of a registry (OCI distribution-spec). */
export class Repository {
  readonly connection: Connection;
  /** "library/debian". */
  readonly path: string;
  readonly #actions: string;

  constructor(connection: Connection, path: string, actions: "pull" | "pull,push") {
    this.connection = connection;
    this.path = path;
    this.#actions = actions;
  }

  /** What a token must allow. */
  get scope(): string {
    return `repository:${this.path}:${this.#actions}`;
  }

  /** Digest of a tag's manifest without fetching it; undefined when the registry does not say. `name` is for messages. */
  async resolve(ctx: OpContext, tagOrDigest: string, name: string): Promise<string | undefined> {
    const response = await this.#manifestRequest(ctx, "HEAD", tagOrDigest, name);
    response.body.resume();
    const digest = header(response.headers, "docker-content-digest");
    return digest !== undefined && DIGEST.test(digest) ? digest : undefined;
  }

  /** Fetches a manifest or index and verifies it against the digest that was asked for, or that the registry names. */
  async manifest(ctx: OpContext, tagOrDigest: string, name: string): Promise<RemoteManifest> {
    const response = await this.#manifestRequest(ctx, "GET", tagOrDigest, name);
    const bytes = await readBody(response, MANIFEST_LIMIT);
    if (bytes === undefined) {
      throw imageErrors.REGISTRY_RESPONSE_INVALID({
        host: this.connection.endpoint.host,
        reason: `the manifest of ${name} has more than ${MANIFEST_LIMIT} bytes`,
      });
    }
    const actual = sha256(bytes);
    const expected = DIGEST.test(tagOrDigest) ? tagOrDigest : header(response.headers, "docker-content-digest");
    if (expected !== undefined && expected !== actual) {
      throw imageErrors.REGISTRY_DIGEST_MISMATCH({ reference: `manifest of ${name}`, expected, actual });
    }
    return { digest: actual, mediaType: header(response.headers, "content-type") ?? "", bytes };
  }

  /** One try to read a blob from `offset` on. A registry without ranges starts at 0: `offset` of the result says. */
  async openBlob(
    ctx: OpContext,
    digest: string,
    offset: number,
  ): Promise<{ readonly body: Readable; readonly offset: number }> {
    const request: RegistryRequest = {
      method: "GET",
      path: `${this.path}/blobs/${digest}`,
      headers: offset > 0 ? { Range: `bytes=${offset}-` } : {},
    };
    const response = await this.connection.attempt(ctx, this.scope, request);
    if (response.status === 200) return { body: response.body, offset: 0 };
    if (response.status === 206) {
      const start = /^bytes (\d+)-/.exec(header(response.headers, "content-range") ?? "")?.[1];
      return { body: response.body, offset: start === undefined ? offset : Number(start) };
    }
    if (response.status === 404) {
      response.body.resume();
      throw imageErrors.REGISTRY_BLOB_NOT_FOUND({
        repository: `${this.connection.endpoint.host}/${this.path}`,
        digest,
      });
    }
    throw await this.#denied(request, response, `${this.connection.endpoint.host}/${this.path}`);
  }

  /** A small blob as a whole, verified. Not stored. */
  async smallBlob(ctx: OpContext, blob: Descriptor): Promise<Uint8Array> {
    const invalid = (reason: string) =>
      imageErrors.REGISTRY_RESPONSE_INVALID({ host: this.connection.endpoint.host, reason });
    if (blob.size > MANIFEST_LIMIT) throw invalid(`blob ${blob.digest} has more than ${MANIFEST_LIMIT} bytes`);
    return await withRetries(ctx, this.connection.retries, async () => {
      const { body } = await this.openBlob(ctx, blob.digest, 0);
      try {
        const bytes = await readBody({ body }, MANIFEST_LIMIT);
        if (bytes !== undefined && sha256(bytes) === blob.digest) return bytes;
      } catch (error) {
        throw networkFailure(error, this.connection.endpoint.host, ctx.signal);
      }
      throw imageErrors.REGISTRY_DIGEST_MISMATCH({
        reference: `blob of ${this.path}`,
        expected: blob.digest,
        actual: "other bytes",
      });
    });
  }

  async hasBlob(ctx: OpContext, digest: string): Promise<boolean> {
    const request: RegistryRequest = { method: "HEAD", path: `${this.path}/blobs/${digest}` };
    const response = await this.connection.request(ctx, this.scope, request);
    response.body.resume();
    if (response.status === 200) return true;
    if (response.status === 404) return false;
    throw await this.#denied(request, response, this.path);
  }

  async putManifest(ctx: OpContext, tagOrDigest: string, bytes: Uint8Array, mediaType: string): Promise<void> {
    const request: RegistryRequest = {
      method: "PUT",
      path: `${this.path}/manifests/${tagOrDigest}`,
      headers: { "Content-Type": mediaType, "Content-Length": String(bytes.length) },
      body: () => bytes,
    };
    const response = await this.connection.request(ctx, this.scope, request);
    if (response.status < 200 || response.status > 299) throw await this.#denied(request, response, this.path);
    response.body.resume();
  }

  /** Every tag, following the pages. */
  async tags(ctx: OpContext, name: string): Promise<readonly string[]> {
    const tags: string[] = [];
    let path: string | URL = `${this.path}/tags/list`;
    for (;;) {
      const request: RegistryRequest = { method: "GET", path };
      const response = await this.connection.request(ctx, this.scope, request);
      if (response.status !== 200) throw await this.#manifestFailure(request, response, name);
      const bytes = await readBody(response, TAG_LIST_LIMIT);
      const json = parseJson(bytes ?? new Uint8Array(), `tag list of ${name}`);
      const page = isRecord(json) && Array.isArray(json["tags"]) ? json["tags"] : [];
      tags.push(...page.filter((tag): tag is string => typeof tag === "string"));
      const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(header(response.headers, "link") ?? "")?.[1];
      if (next === undefined || page.length === 0) return tags;
      path = new URL(next, response.url);
    }
  }

  /** The error for an answer to something that needs the right to write. */
  async pushFailure(request: RegistryRequest, response: HttpResponse): Promise<Error> {
    return await this.#denied(request, response, this.path);
  }

  async #manifestRequest(
    ctx: OpContext,
    method: "GET" | "HEAD",
    tagOrDigest: string,
    name: string,
  ): Promise<HttpResponse> {
    const request: RegistryRequest = {
      method,
      path: `${this.path}/manifests/${tagOrDigest}`,
      headers: { Accept: ACCEPTED_MANIFESTS.join(", ") },
    };
    const response = await this.connection.request(ctx, this.scope, request);
    if (response.status === 200) return response;
    throw await this.#manifestFailure(request, response, name);
  }

  async #manifestFailure(request: RegistryRequest, response: HttpResponse, name: string): Promise<Error> {
    if (response.status === 404) {
      response.body.resume();
      return imageErrors.MANIFEST_NOT_FOUND({ reference: name });
    }
    return await this.#denied(request, response, name);
  }

  /** 401 after we answered the challenge, and 403: who we are does not suffice. */
  async #denied(request: RegistryRequest, response: HttpResponse, name: string): Promise<Error> {
    if (response.status !== 401 && response.status !== 403) return await this.connection.failure(request, response);
    const detail = errorDetail((await readBody(response, MANIFEST_LIMIT)) ?? new Uint8Array());
    const denied = detail || "denied: requested access to the resource is denied";
    return this.#actions === "pull"
      ? imageErrors.PULL_ACCESS_DENIED({ name, detail: denied })
      : imageErrors.PUSH_ACCESS_DENIED({ name, detail: denied });
  }
}
