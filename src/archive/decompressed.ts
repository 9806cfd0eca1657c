import { Readable, pipeline } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import { createDecompressor, detectCompression, MAGIC_BYTES } from "./compression.ts";
import { type Filters, filterThrough } from "./external-decompressor.ts";
import { peek } from "./peek.ts";

/** What is compressed in the stream, told by its first bytes; the same bytes when nothing is. A failure is the new stream's. */
export async function decompressed(ctx: OpContext, stream: Readable, filters: Filters | undefined): Promise<Readable> {
  const { head, whole } = await peek(stream, MAGIC_BYTES);
  const compression = detectCompression(head);
  switch (compression) {
    case "none":
      return Readable.from(whole, { objectMode: false });
    case "gzip":
    case "zstd":
      return pipeline(Readable.from(whole, { objectMode: false }), createDecompressor(compression), () => {});
    case "bzip2":
    case "xz":
      return Readable.from(filterThrough(ctx, filters, compression, whole), { objectMode: false });
  }
}
