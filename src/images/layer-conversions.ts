import { once } from "node:events";
import { createGzip } from "node:zlib";
import { type Static, Type } from "typebox";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ContentStore } from "../content/content-store.ts";
import { Descriptor } from "../schema/image.ts";
import type { Collection, Store } from "../state/store.ts";
import { blobCompression, openUncompressed } from "./compression.ts";
import { MediaType } from "./media-types.ts";

/** Half the time of the default level, for 9 % more bytes (a Debian root of 126 MB). */
const GZIP_LEVEL = 1;

const Conversion = Type.Object({
  /** Digest of the blob as stored. */
  source: Type.String(),
  /** The same tar, compressed with gzip. */
  gzip: Descriptor,
});
type Conversion = Static<typeof Conversion>;

/**
 * Layers in the form that every client can pull. What Berth compressed itself (zstd), or loaded uncompressed, is turned into
 * gzip once; the result is kept as long as its source.
 */
export class LayerConversions {
  readonly #content: ContentStore;
  readonly #records: Collection<Conversion>;
  readonly #locks = new KeyedMutex();

  constructor(store: Store, content: ContentStore) {
    this.#content = content;
    this.#records = store.collection("layer-conversions", Conversion);
  }

  /** The layer as gzip; the same descriptor when it is that already. */
  async toGzip(ctx: OpContext, blob: Descriptor): Promise<Descriptor> {
    using _one = await this.#locks.acquire(blob.digest);
    const known = this.#records.get(blob.digest);
    if (known !== undefined && (await this.#content.has(known.gzip.digest))) return known.gzip;
    if ((await blobCompression(this.#content, blob.digest)) === "gzip") return blob;
    const gzip = await this.#convert(ctx, blob.digest);
    this.#records.put(blob.digest, { source: blob.digest, gzip });
    return gzip;
  }

  /** Digests of what was made from `sources`. */
  resultsOf(sources: ReadonlySet<string>): readonly string[] {
    return this.#records.list().flatMap(({ source, gzip }) => (sources.has(source) ? [gzip.digest] : []));
  }

  /** Forgets the conversions of those of `sources` that are not `live`; returns the digests that were made from them. */
  forget(sources: readonly string[], live: ReadonlySet<string>): readonly string[] {
    return sources.flatMap((source) => {
      const known = live.has(source) ? undefined : this.#records.get(source);
      if (known === undefined) return [];
      this.#records.delete(source);
      return [known.gzip.digest];
    });
  }

  async #convert(ctx: OpContext, digest: string): Promise<Descriptor> {
    const gzip = createGzip({ level: GZIP_LEVEL });
    const writer = await this.#content.writer(ctx, `gzip-${digest.replace(":", "-")}`);
    // Compressing starts anew: half a stream of an earlier attempt can't be gone on with.
    if (writer.offset > 0) {
      await writer.discard();
      return await this.#convert(ctx, digest);
    }
    try {
      const pump = (async () => {
        for await (const chunk of gzip) await writer.write(chunk);
      })();
      pump.catch(() => {});
      for await (const chunk of await openUncompressed(ctx, this.#content, digest)) {
        if (!gzip.write(chunk)) await Promise.race([once(gzip, "drain"), pump]);
      }
      gzip.end();
      await pump;
      return { mediaType: MediaType.ociLayerGzip, ...(await writer.commit()) };
    } catch (error) {
      gzip.destroy();
      await writer.discard();
      throw error;
    }
  }
}
