import type { Readable } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";
import type { ContentStore } from "../../content/content-store.ts";
import type { Descriptor } from "../../schema/image.ts";
import { imageErrors } from "../errors.ts";
import type { ByteProgress } from "../shared-work.ts";
import { header, type RegistryRequest } from "./connection.ts";
import type { Repository } from "./repository.ts";
import { withRetries } from "./retry.ts";
import type { HttpResponse } from "./transport.ts";

/** A blob up to this size goes in one request; a larger one in pieces of it, so that a cut connection costs one piece. */
const CHUNK_BYTES = 64 << 20;

export type UploadResult = { readonly kind: "uploaded" } | { readonly kind: "mounted"; readonly from: string };

/**
 * Puts a blob of the store into a repository (distribution-spec, "Pushing blobs"): taken over from another repository of the
 * same registry where one of `mountFrom` has it, else uploaded. Tried again from the start of the upload, or of the piece.
 */
export async function uploadBlob(
  ctx: OpContext,
  target: Repository,
  content: ContentStore,
  blob: Descriptor,
  mountFrom: readonly string[],
  onProgress: ByteProgress,
): Promise<UploadResult> {
  for (const from of mountFrom) if (await mount(ctx, target, blob, from)) return { kind: "mounted", from };
  await withRetries(ctx, target.connection.retries, async () => {
    const begun = await begin(ctx, target);
    const location = blob.size > CHUNK_BYTES ? await sendChunks(ctx, target, content, blob, begun, onProgress) : begun;
    await finish(ctx, target, content, blob, location, onProgress);
  });
  return { kind: "uploaded" };
}

/** Takes the blob over from another repository. Not being allowed to is no error: then it is uploaded. */
async function mount(ctx: OpContext, target: Repository, blob: Descriptor, from: string): Promise<boolean> {
  const query = `?mount=${encodeURIComponent(blob.digest)}&from=${encodeURIComponent(from)}`;
  const request: RegistryRequest = {
    method: "POST",
    path: `${target.path}/blobs/uploads/${query}`,
    headers: { "Content-Length": "0" },
  };
  const scope = `${target.scope} repository:${from}:pull`;
  const response = await target.connection.request(ctx, scope, request);
  response.body.resume();
  // The session that was begun instead is thrown away: it may not take another blob everywhere.
  if (response.status === 202) await cancel(ctx, target, locationOf(target, response));
  return response.status === 201;
}

async function begin(ctx: OpContext, target: Repository): Promise<URL> {
  const request: RegistryRequest = {
    method: "POST",
    path: `${target.path}/blobs/uploads/`,
    headers: { "Content-Length": "0" },
  };
  const response = await target.connection.request(ctx, target.scope, request);
  if (response.status !== 202) throw await target.pushFailure(request, response);
  response.body.resume();
  return locationOf(target, response);
}

/** All of the blob but for the closing request. */
async function sendChunks(
  ctx: OpContext,
  target: Repository,
  content: ContentStore,
  blob: Descriptor,
  first: URL,
  onProgress: ByteProgress,
): Promise<URL> {
  let location = first;
  for (let start = 0; start < blob.size; ) {
    const end = Math.min(start + CHUNK_BYTES, blob.size);
    const request: RegistryRequest = {
      method: "PATCH",
      path: location,
      headers: {
        "Content-Type": "application/octet-stream",
        "Content-Length": String(end - start),
        "Content-Range": `${start}-${end - 1}`,
      },
      body: () => counted(content, blob, { start, end: end - 1 }, onProgress),
    };
    const response = await target.connection.attempt(ctx, target.scope, request);
    if (response.status !== 202) throw await target.pushFailure(request, response);
    response.body.resume();
    location = locationOf(target, response);
    start = end;
  }
  return location;
}

async function finish(
  ctx: OpContext,
  target: Repository,
  content: ContentStore,
  blob: Descriptor,
  location: URL,
  onProgress: ByteProgress,
): Promise<void> {
  const url = new URL(location);
  url.searchParams.set("digest", blob.digest);
  const whole = blob.size <= CHUNK_BYTES;
  const request: RegistryRequest = {
    method: "PUT",
    path: url,
    headers: { "Content-Type": "application/octet-stream", "Content-Length": whole ? String(blob.size) : "0" },
    ...(whole && blob.size > 0
      ? { body: () => counted(content, blob, { start: 0, end: blob.size - 1 }, onProgress) }
      : {}),
  };
  const response = await target.connection.attempt(ctx, target.scope, request);
  if (response.status < 200 || response.status > 299) throw await target.pushFailure(request, response);
  response.body.resume();
}

async function cancel(ctx: OpContext, target: Repository, location: URL): Promise<void> {
  const response = await target.connection.request(ctx, target.scope, { method: "DELETE", path: location });
  // Many registries don't offer it; sessions end by themselves.
  response.body.resume();
}

async function counted(
  content: ContentStore,
  blob: Descriptor,
  range: { readonly start: number; readonly end: number },
  onProgress: ByteProgress,
): Promise<Readable> {
  const stream = await content.open(blob.digest, range);
  let done = range.start;
  const count = (chunk: Buffer) => {
    done += chunk.length;
    onProgress(done, blob.size);
  };
  // A "data" listener would start the flow before the socket is there.
  stream.once("resume", () => stream.on("data", count));
  return stream;
}

function locationOf(target: Repository, response: HttpResponse): URL {
  const location = header(response.headers, "location");
  if (location === undefined || !URL.canParse(location, response.url.href)) {
    throw imageErrors.REGISTRY_RESPONSE_INVALID({
      host: target.connection.endpoint.host,
      reason: "no Location of the upload",
    });
  }
  return new URL(location, response.url);
}
