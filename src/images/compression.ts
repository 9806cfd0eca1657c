import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { OpContext } from "../base/op-context.ts";
import type { ContentStore } from "../content/content-store.ts";
import { imageErrors } from "./errors.ts";
import type { Compression } from "./media-types.ts";

/** Compressions that are recognised by their first bytes. */
export type SniffedCompression = Compression | "bzip2" | "xz";

const SNIFF_BYTES = 6;

/** Looks at the first bytes of a file. */
export function sniffCompression(head: Uint8Array): SniffedCompression {
  const starts = (...bytes: readonly number[]) => bytes.every((byte, index) => head[index] === byte);
  if (starts(0x1f, 0x8b)) return "gzip";
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  if (starts(0x42, 0x5a, 0x68)) return "bzip2";
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return "xz";
  return "none";
}

/** How a stored layer is compressed, whatever its media type says: archives and old registries get it wrong. */
export async function blobCompression(content: ContentStore, digest: string): Promise<Compression> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await content.open(digest, { start: 0, end: SNIFF_BYTES - 1 })) chunks.push(chunk);
  const compression = sniffCompression(Buffer.concat(chunks));
  if (compression === "bzip2" || compression === "xz") {
    throw imageErrors.IMAGE_DOCUMENT_INVALID({ what: `layer ${digest}`, reason: `it is compressed with ${compression}` });
  }
  return compression;
}

/** The uncompressed bytes of a stored blob. */
export async function openUncompressed(ctx: OpContext, content: ContentStore, digest: string): Promise<Readable> {
  return decompress(ctx, await content.open(digest), await blobCompression(content, digest));
}

/**
 * The uncompressed bytes of a stream that may be compressed, found out from its first bytes. A failure of the source or a
 * broken compression destroys the result with that error.
 */
export async function decompressAuto(ctx: OpContext, source: Readable): Promise<Readable> {
  const { head, rest } = await peek(source);
  const compression = sniffCompression(head);
  switch (compression) {
    case "none":
    case "gzip":
    case "zstd":
      return decompress(ctx, rest, compression);
    case "bzip2":
    case "xz":
      rest.destroy();
      throw imageErrors.ARCHIVE_COMPRESSION_UNSUPPORTED({ compression, program: compression });
  }
}

function decompress(ctx: OpContext, source: Readable, compression: Compression): Readable {
  const into =
    compression === "gzip" ? createGunzip() : compression === "zstd" ? createZstdDecompress() : new PassThrough();
  // The error reaches the reader through `into`, which pipeline destroys with it.
  pipeline(source, into, { signal: ctx.signal }).catch(() => {});
  return into;
}

async function peek(source: Readable): Promise<{ readonly head: Uint8Array; readonly rest: Readable }> {
  const iterator: AsyncIterator<Buffer> = source[Symbol.asyncIterator]();
  const chunks: Buffer[] = [];
  let length = 0;
  while (length < SNIFF_BYTES) {
    const { done, value } = await iterator.next();
    if (done === true) break;
    const chunk = Buffer.isBuffer(value) ? value : Buffer.from(value);
    chunks.push(chunk);
    length += chunk.length;
  }
  const head = Buffer.concat(chunks);
  return { head, rest: resume(head, iterator, source) };
}

/** A stream that gives back what was looked at, then the rest. */
function resume(head: Buffer, iterator: AsyncIterator<Buffer>, source: Readable): Readable {
  const rest = new PassThrough();
  const all = async function* () {
    if (head.length > 0) yield head;
    for (;;) {
      const { done, value } = await iterator.next();
      if (done === true) return;
      yield value;
    }
  };
  pipeline(all, rest).catch((error: unknown) => source.destroy(error instanceof Error ? error : undefined));
  return rest;
}
