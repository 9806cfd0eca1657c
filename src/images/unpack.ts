import type { OpContext } from "../base/op-context.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImageLayer, ImageRecord } from "../schema/image.ts";
import type { LayerInfo, Snapshotter } from "../snapshots/snapshotter.ts";
import { chainIds } from "./chain-id.ts";
import { blobCompression } from "./compression.ts";
import { imageErrors } from "./errors.ts";
import { type ByteProgress, SharedWork } from "./shared-work.ts";

/**
 * A layer may unpack to so much, and to so many times its blob when that is more: beyond it, it is a decompression bomb.
 * Real layers stay below 50 times; gzip can't do more than 1032.
 */
const MAX_LAYER_BYTES = 16 * 1024 ** 3;
const MAX_LAYER_RATIO = 256;

/** Turns layer blobs into the snapshotter's layers. The same one wanted twice at a time is unpacked once. */
export class Unpacker {
  readonly #content: ContentStore;
  readonly #snapshotter: Snapshotter;
  readonly #shared = new SharedWork<LayerInfo>();

  constructor(content: ContentStore, snapshotter: Snapshotter) {
    this.#content = content;
    this.#snapshotter = snapshotter;
  }

  /** Whether the layer is there already. */
  async has(chainId: string): Promise<boolean> {
    return await this.#snapshotter.hasLayer(chainId);
  }

  /** Unpacks `layer` onto `parent`, when it is not there. `onProgress` counts bytes of the blob. */
  async layer(
    ctx: OpContext,
    parent: string,
    chainId: string,
    layer: ImageLayer,
    onProgress: ByteProgress,
  ): Promise<LayerInfo> {
    const existing = await this.#snapshotter.layer(chainId);
    if (existing !== undefined) return existing;
    return await this.#shared.run(ctx, chainId, onProgress, async (ctx, report) => {
      const { digest, size } = layer.blob;
      if (!(await this.#content.has(digest))) throw imageErrors.IMAGE_LAYER_MISSING({ image: chainId, digest });
      return await this.#snapshotter.applyLayer(ctx, {
        parent,
        diffId: layer.diffId,
        blob: { path: await this.#content.path(digest), compression: await blobCompression(this.#content, digest) },
        maxBytes: Math.max(MAX_LAYER_BYTES, size * MAX_LAYER_RATIO),
        onProgress: (bytesRead) => report(bytesRead, size),
      });
    });
  }

  /** Unpacks every layer of an image: its topmost chain id, "" when it has none, the layers with their sizes, and these in all. */
  async image(
    ctx: OpContext,
    image: Pick<ImageRecord, "layers" | "config">,
    onProgress: (layer: ImageLayer, current: number, total: number | undefined) => void,
  ): Promise<{ readonly chainId: string; readonly layers: ImageLayer[]; readonly size: number }> {
    const chains = chainIds(image.config.rootfs.diff_ids);
    let parent = "";
    let size = 0;
    const layers: ImageLayer[] = [];
    for (const [index, layer] of image.layers.entries()) {
      const chain = chains[index] ?? "";
      const info = await this.layer(ctx, parent, chain, layer, (current, total) => onProgress(layer, current, total));
      size += info.size;
      layers.push({ ...layer, size: info.size });
      parent = chain;
    }
    return { chainId: parent, layers, size };
  }
}
