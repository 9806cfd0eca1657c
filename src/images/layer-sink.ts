import { once } from "node:events";
import { constants, createZstdCompress, type ZstdCompress } from "node:zlib";
import { newId } from "../base/ids.ts";
import type { OpContext } from "../base/op-context.ts";
import type { BlobWriter, ContentStore } from "../content/content-store.ts";
import type { LayerSink } from "../snapshots/snapshotter.ts";
import { MediaType } from "./media-types.ts";

/**
 * Compression of layers that are made here. Measured with a Debian root of 126 MB, beside gzip at level 1: 2.9 times as fast to make,
 * 1.2 times to read, and 11 % smaller; level 3 is half as fast for another 13 %. Registries get gzip, see `LayerConversions`.
 */
const ZSTD_LEVEL = 1;

/** Compresses an uncompressed tar into a blob of the store. */
export class ZstdLayerSink implements LayerSink {
  readonly #compressor: ZstdCompress;
  readonly #writer: BlobWriter;
  readonly #pumped: Promise<void>;
  readonly #onBlob: (digest: string) => Promise<void>;

  private constructor(writer: BlobWriter, onBlob: (digest: string) => Promise<void>) {
    this.#writer = writer;
    this.#onBlob = onBlob;
    this.#compressor = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } });
    this.#pumped = this.#pump();
    // Reported by `write` and `finish`; without a handler of its own it would end the process in between.
    this.#pumped.catch(() => {});
  }

  /** `onBlob` is called with the blob's digest before anyone else can know it. */
  static async open(
    ctx: OpContext,
    content: ContentStore,
    onBlob: (digest: string) => Promise<void> = async () => {},
  ): Promise<ZstdLayerSink> {
    return new ZstdLayerSink(await content.writer(ctx, `layer-${newId()}`), onBlob);
  }

  /** A piece of the uncompressed tar. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#compressor.write(chunk)) return;
    // A failing writer ends the pump, and "drain" would then never come.
    await Promise.race([once(this.#compressor, "drain"), this.#pumped]);
  }

  async finish(): Promise<{ readonly digest: string; readonly size: number; readonly mediaType: string }> {
    this.#compressor.end();
    await this.#pumped;
    const { digest, size } = await this.#writer.commit();
    await this.#onBlob(digest);
    return { digest, size, mediaType: MediaType.ociLayerZstd };
  }

  /** Throws away what was written, unless it was finished. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#compressor.destroy();
    await this.#pumped.catch(() => {});
    await this.#writer.discard();
  }

  async #pump(): Promise<void> {
    for await (const chunk of this.#compressor) await this.#writer.write(chunk);
  }
}
