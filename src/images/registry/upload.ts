import type { Readable } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";
import type { ContentStore } from "../../content/content-store.ts";
import type { Descriptor } from "../../schema/image.ts";
import { imageErrors } from "../errors.ts";
import type { ByteProgress } from "../shared-work.ts";
import { header, type RegistryRequest } from "./connection.ts";
import type { Repository } from "./repository.ts";
import { TransientFailure, withRetries } from "./retry.ts";
import type { HttpResponse } from "./transport.ts";

/** Bytes. A blob up to this size goes in one request; a larger one in pieces of it, so that a cut connection costs one piece. */
export const DEFAULT_UPLOAD_CHUNK_BYTES = 64 << 20;

export type UploadResult = { readonly kind: "uploaded" } | { readonly kind: "mounted"; readonly from: string };

/**
 * Puts a blob of the store into a repository (distribution-spec, "Pushing blobs"): taken over from another repository of the
 * same registry where one of `mountFrom` has it, else uploaded; large ones in pieces, which go on where a cut stopped them.
 */
export async function uploadBlob(
  ctx: OpContext,
  target: Repository,
  content: ContentStore,
  blob: Descriptor,
  options: { readonly mountFrom: readonly string[]; readonly chunkBytes: number; readonly onProgress: ByteProgress },
): Promise<UploadResult> {
  const { mountFrom, chunkBytes, onProgress } = options;
  for (const from of mountFrom) if (await mount(ctx, target, blob, from)) return { kind: "mounted", from };
  await withRetries(ctx, target.connection.retries, async () => {
    const begun = await begin(ctx, target);
    const location = blob.size > chunkBytes ? await sendChunks(ctx, target, content, blob, begun, options) : begun;
    await finish(ctx, target, content, blob, location, blob.size <= chunkBytes, onProgress);
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

/** Where an upload is: its next location, and the bytes that the registry has. */
interface Position {
  readonly location: URL;
  readonly start: number;
}

/** All of the blob but for the closing request. After a failure the registry is asked how much it got. */
async function sendChunks(
  ctx: OpContext,
  target: Repository,
  content: ContentStore,
  blob: Descriptor,
  first: URL,
  { chunkBytes, onProgress }: { readonly chunkBytes: number; readonly onProgress: ByteProgress },
): Promise<URL> {
  let at: Position = { location: first, start: 0 };
  await withRetries(ctx, target.connection.retries, async (restart) => {
    while (at.start < blob.size) {
      const end = Math.min(at.start + chunkBytes, blob.size);
      try {
        at = await sendPiece(ctx, target, at, end, () =>
          counted(content, blob, { start: at.start, end: end - 1 }, onProgress),
        );
      } catch (error) {
        if (!(error instanceof TransientFailure)) throw error;
        const before = at.start;
        at = await askPosition(ctx, target, at.location);
        if (at.start > before) restart();
        throw error;
      }
      restart();
    }
  });
  return at.location;
}

async function sendPiece(
  ctx: OpContext,
  target: Repository,
  { location, start }: Position,
  end: number,
  body: () => Promise<Readable>,
): Promise<Position> {
  const request: RegistryRequest = {
    method: "PATCH",
    path: location,
    headers: {
      "Content-Type": "application/octet-stream",
      "Content-Length": String(end - start),
      "Content-Range": `${start}-${end - 1}`,
    },
    body,
  };
  const response = await target.connection.attempt(ctx, target.scope, request);
  if (response.status === 404 || response.status === 416) {
    // After a cut a registry may still have been writing when it told us its position: ask again, or begin anew.
    const failure = await target.pushFailure(request, response);
    throw new TransientFailure(() => failure, failure);
  }
  if (response.status !== 202) throw await target.pushFailure(request, response);
  response.body.resume();
  return { location: locationOf(target, response), start: end };
}

/** The upload's status; one that the registry has forgotten is begun anew. */
async function askPosition(ctx: OpContext, target: Repository, location: URL): Promise<Position> {
  const response = await target.connection.request(ctx, target.scope, { method: "GET", path: location });
  response.body.resume();
  if (response.status !== 204) return { location: await begin(ctx, target), start: 0 };
  const last = Number(/^(?:bytes=)?0-(\d+)$/.exec(header(response.headers, "range") ?? "")?.[1] ?? 0);
  // "0-0" is what registries say for nothing.
  return { location: locationOf(target, response), start: last === 0 ? 0 : last + 1 };
}

async function finish(
  ctx: OpContext,
  target: Repository,
  content: ContentStore,
  blob: Descriptor,
  location: URL,
  whole: boolean,
  onProgress: ByteProgress,
): Promise<void> {
  const url = new URL(location);
  url.searchParams.set("digest", blob.digest);
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
