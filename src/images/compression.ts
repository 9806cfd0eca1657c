import { pipeline } from "node:stream/promises";
import type { Readable } from "node:stream";
import {
  type Compression as ArchiveCompression,
  createDecompressor,
  detectCompression,
  MAGIC_BYTES,
} from "../archive/compression.ts";
import { archiveErrors } from "../archive/errors.ts";
import { type Filters, filterThrough } from "../archive/external-decompressor.ts";
import { peek } from "../archive/peek.ts";
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ContentStore } from "../content/content-store.ts";
import { imageErrors } from "./errors.ts";
import type { Compression } from "./media-types.ts";

/** How a stored layer is compressed, whatever its media type says: archives and old registries get it wrong. */
export async function blobCompression(content: ContentStore, digest: string): Promise<Compression> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await content.open(digest, { start: 0, end: MAGIC_BYTES - 1 })) chunks.push(chunk);
  const compression = detectCompression(Buffer.concat(chunks));
  if (compression === "bzip2" || compression === "xz") {
    throw imageErrors.IMAGE_DOCUMENT_INVALID({
      what: `layer ${digest}`,
      reason: `it is compressed with ${compression}`,
    });
  }
  return compression;
}

/** The uncompressed bytes of a stored blob. */
export async function openUncompressed(
  ctx: OpContext,
  content: ContentStore,
  digest: string,
): Promise<AsyncIterable<Buffer>> {
  return decompress(ctx, undefined, await content.open(digest), await blobCompression(content, digest));
}

/**
 * The uncompressed bytes of a stream that may be compressed, found out from its first bytes: gzip, zstd, and bzip2 and xz where
 * their programs are installed. Broken compression is `ARCHIVE_CORRUPT`.
 */
export async function decompressAuto(
  ctx: OpContext,
  filters: Filters,
  source: Readable,
): Promise<AsyncIterable<Buffer>> {
  const { head, whole } = await peek(source, MAGIC_BYTES);
  return decompress(ctx, filters, whole, detectCompression(head));
}

function decompress(
  ctx: OpContext,
  filters: Filters | undefined,
  source: AsyncIterable<Buffer>,
  compression: ArchiveCompression,
): AsyncIterable<Buffer> {
  switch (compression) {
    case "none":
      return source;
    case "gzip":
    case "zstd":
      return inflate(ctx, source, compression);
    case "bzip2":
    case "xz":
      return filterThrough(ctx, filters, compression, source);
  }
}

async function* inflate(
  ctx: OpContext,
  source: AsyncIterable<Buffer>,
  compression: "gzip" | "zstd",
): AsyncGenerator<Buffer> {
  const decompressor = createDecompressor(compression);
  // Its failure reaches the reader through the decompressor, which pipeline destroys with it.
  const feeding = pipeline(source, decompressor, { signal: ctx.signal }).catch(() => {});
  try {
    for await (const chunk of decompressor) yield chunk;
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (!isZlibError(error)) throw error;
    throw archiveErrors.ARCHIVE_CORRUPT(
      { entry: "", reason: `broken ${compression}: ${messageOf(error)}` },
      { cause: error },
    );
  } finally {
    decompressor.destroy();
    await feeding;
  }
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && "code" in error && /^(?:Z_|ZSTD_)/.test(String(error.code));
}
