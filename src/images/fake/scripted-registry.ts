/** A registry in this process whose answers a test can bend. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { sha256 } from "../chain-id.ts";
import { MediaType } from "../media-types.ts";
import type { TestImage } from "./test-images.ts";

export type Answer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

export class ScriptedRegistry implements AsyncDisposable {
  readonly host: string;
  /** "GET /v2/…" in order, with the Authorization header when there was one. */
  readonly requests: string[] = [];
  readonly #server: ReturnType<typeof createServer>;
  readonly #documents = new Map<string, { readonly bytes: Buffer; readonly mediaType: string }>();
  readonly #overrides = new Map<string, Answer[]>();

  private constructor(server: ReturnType<typeof createServer>, port: number) {
    this.#server = server;
    this.host = `127.0.0.1:${port}`;
  }

  static async start(): Promise<ScriptedRegistry> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const registry = new ScriptedRegistry(server, (server.address() as AddressInfo).port);
    server.on("request", (request, response) => {
      registry.#answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
    return registry;
  }

  /** Serves an image of repository "app": by digest, and by `tag`. */
  addImage(image: TestImage, tag?: string): void {
    this.addBlob(image.configBytes);
    for (const layer of image.layers) this.addBlob(layer.bytes);
    this.addManifest(image.manifestBytes, MediaType.ociManifest, tag);
  }

  addBlob(bytes: Buffer): void {
    this.#documents.set(`/v2/app/blobs/${sha256(bytes)}`, { bytes, mediaType: "application/octet-stream" });
  }

  addManifest(bytes: Buffer, mediaType: string, tag?: string): void {
    for (const name of [sha256(bytes), ...(tag === undefined ? [] : [tag])]) {
      this.#documents.set(`/v2/app/manifests/${name}`, { bytes, mediaType });
    }
  }

  /** The next requests for `method path` are answered like this, one each; then as usual. */
  override(route: string, ...answers: readonly Answer[]): void {
    this.#overrides.set(route, [...answers]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "/";
    const { authorization } = request.headers;
    const route = `${request.method} ${path}`;
    this.requests.push(authorization === undefined ? route : `${route} as ${authorization}`);
    const override = this.#overrides.get(route)?.shift();
    if (override !== undefined) return await override(request, response);
    if (path === "/v2/") return void response.writeHead(200).end("{}");
    const document = this.#documents.get(path);
    if (document === undefined) {
      const errors = [{ code: path.includes("/blobs/") ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN", message: "unknown" }];
      return void response.writeHead(404, { "Content-Type": "application/json" }).end(JSON.stringify({ errors }));
    }
    const { bytes, mediaType } = document;
    const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, {
      "Content-Type": mediaType,
      "Content-Length": bytes.length - start,
      "Docker-Content-Digest": sha256(bytes),
      ...(start > 0 ? { "Content-Range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    response.end(request.method === "HEAD" ? undefined : bytes.subarray(start));
  }
}

/** Answers with this status, headers and body. */
export function answer(status: number, headers: Record<string, string> = {}, body: string | Buffer = ""): Answer {
  return (_request, response) => void response.writeHead(status, headers).end(body);
}

/** Sends the head and `bytes` of what Content-Length promises, then cuts the connection. */
export function cut(bytes: Buffer, promised: number): Answer {
  return (_request, response) => {
    response.writeHead(200, { "Content-Length": promised });
    response.write(bytes, () => setImmediate(() => response.destroy()));
  };
}
