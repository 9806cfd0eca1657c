import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import type { Filters } from "../archive/external-decompressor.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageLayer } from "../schema/image.ts";
import { decompressAuto } from "./compression.ts";
import { ZstdLayerSink } from "./layer-sink.ts";

export interface IngestOptions {
  /** For archives that Node can't decompress. */
  readonly filters: Filters;
  /** Called with the blob's digest before anyone else can know it. */
  readonly onBlob: (digest: string) => Promise<void>;
  /** Uncompressed bytes so far. */
  readonly onProgress?: (bytes: number) => void;
}

/**
 * Stores a root file system's tar, plain or compressed, as a layer blob. Nothing is left when it fails. What is inside the
 * tar is looked at when it is unpacked.
 */
export async function ingestLayer(
  ctx: OpContext,
  content: ContentStore,
  tar: Readable,
  options: IngestOptions,
): Promise<ImageLayer> {
  const plain = await decompressAuto(ctx, options.filters, tar);
  await using sink = await ZstdLayerSink.open(ctx, content, options.onBlob);
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of plain) {
    ctx.signal.throwIfAborted();
    hash.update(chunk);
    await sink.write(chunk);
    bytes += chunk.length;
    options.onProgress?.(bytes);
  }
  return { blob: await sink.finish(), diffId: `sha256:${hash.digest("hex")}` };
}
