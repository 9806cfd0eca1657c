import { stat } from "node:fs/promises";
import { isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ContentStore } from "../content/content-store.ts";
import { errnoOf } from "../host/errors.ts";
import type { ImageRecord } from "../schema/image.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import { chainIds } from "./chain-id.ts";
import type { ImageStore } from "./image-store.ts";
import type { LayerConversions } from "./layer-conversions.ts";
import type { Leases } from "./leases.ts";

/** What may have become garbage: an image's blobs and layers after it was removed, or all of a load that failed. */
export interface GarbageCandidates {
  readonly blobs: readonly string[];
  /** Bottom to top. */
  readonly chains: readonly string[];
}

export interface Collected {
  /** Chain ids, top first. */
  readonly layers: readonly string[];
  /** On disk: unpacked layers and blobs. */
  readonly bytes: number;
}

/** Everything that an image keeps alive. */
export function contentOf(image: Pick<ImageRecord, "id" | "manifest" | "layers" | "config">): GarbageCandidates {
  return {
    blobs: [image.manifest.digest, image.id, ...image.layers.map(({ blob }) => blob.digest)],
    chains: chainIds(image.config.rootfs.diff_ids),
  };
}

/** Told of a layer that has gone: what others have made of it goes too. */
export type LayerRemoved = (chainId: string) => Promise<void>;

/** Removes blobs and layers that no image names and no running operation holds. */
export class Garbage {
  readonly #images: ImageStore;
  readonly #content: ContentStore;
  readonly #snapshotter: Snapshotter;
  readonly #leases: Leases;
  readonly #conversions: LayerConversions;
  readonly #layerRemoved: LayerRemoved;

  constructor(parts: {
    readonly images: ImageStore;
    readonly content: ContentStore;
    readonly snapshotter: Snapshotter;
    readonly leases: Leases;
    readonly conversions: LayerConversions;
    readonly layerRemoved: LayerRemoved;
  }) {
    this.#images = parts.images;
    this.#content = parts.content;
    this.#snapshotter = parts.snapshotter;
    this.#leases = parts.leases;
    this.#conversions = parts.conversions;
    this.#layerRemoved = parts.layerRemoved;
  }

  /** Removes those of the candidates that nothing needs. */
  async collect(ctx: OpContext, candidates: GarbageCandidates): Promise<Collected> {
    return await this.#leases.exclusively(async () => {
      const live = this.#live();
      const layers: string[] = [];
      let bytes = 0;
      for (const chain of [...candidates.chains].reverse()) {
        if (live.chains.has(chain) || this.#leases.isHeld(chain)) continue;
        const freed = await this.#removeLayer(ctx, chain);
        if (freed === undefined) continue;
        layers.push(chain);
        bytes += freed;
      }
      for (const digest of new Set([...candidates.blobs, ...this.#conversions.forget(candidates.blobs, live.blobs)])) {
        if (live.blobs.has(digest) || this.#leases.isHeld(digest)) continue;
        if (!(await this.#content.has(digest))) continue;
        const onDisk = await this.#content.onDisk(digest);
        await this.#content.remove(ctx, digest);
        bytes += onDisk;
      }
      return { layers, bytes };
    });
  }

  /** Removes every layer that nothing needs: at start-up, when whatever a killed engine was doing has no lease any more. */
  async sweepLayers(ctx: OpContext): Promise<void> {
    await this.collect(ctx, { blobs: [], chains: bottomUp(await this.#snapshotter.layers()) });
  }

  /**
   * Removes blobs and partial downloads that nothing needs and nobody has gone on with for `staleMs`. A pull that was cut short
   * goes on with the layers that it had, if it is not too late.
   */
  async sweepBlobs(ctx: OpContext, staleMs: number): Promise<number> {
    const blobs: string[] = [];
    const newest = Date.now() - staleMs;
    for await (const { digest } of this.#content.list()) {
      const writtenMs = await this.#writtenMs(digest);
      if (writtenMs !== undefined && writtenMs <= newest) blobs.push(digest);
    }
    await this.#content.removeStalePartials(ctx, staleMs);
    return (await this.collect(ctx, { blobs, chains: [] })).bytes;
  }

  /** Undefined when another sweep or a removal was faster. */
  async #writtenMs(digest: string): Promise<number | undefined> {
    try {
      return (await stat(await this.#content.path(digest))).mtimeMs;
    } catch (error) {
      if (isBerthError(error, "BLOB_NOT_FOUND") || errnoOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Bytes freed; undefined when it is not there, or something stands on it. */
  async #removeLayer(ctx: OpContext, chain: string): Promise<number | undefined> {
    if (!(await this.#snapshotter.hasLayer(chain))) return undefined;
    const [onDisk] = await this.#snapshotter.layersOnDisk(ctx, [chain]);
    try {
      await this.#snapshotter.removeLayer(ctx, chain);
    } catch (error) {
      // A container's snapshot, or a layer of a build that is going on: the next sweep finds it again.
      if (isBerthError(error, "LAYER_IN_USE")) return undefined;
      throw error;
    }
    await this.#layerRemoved(chain);
    return onDisk;
  }

  #live(): { readonly blobs: ReadonlySet<string>; readonly chains: ReadonlySet<string> } {
    const blobs = new Set<string>();
    const chains = new Set<string>();
    for (const image of this.#images.list()) {
      const content = contentOf(image);
      for (const digest of content.blobs) blobs.add(digest);
      for (const chain of content.chains) chains.add(chain);
    }
    for (const digest of this.#conversions.resultsOf(blobs)) blobs.add(digest);
    return { blobs, chains };
  }
}

/** Parents before children, so that walking it backwards never meets a layer that is still stood upon. */
function bottomUp(layers: readonly { readonly chainId: string; readonly parent: string }[]): readonly string[] {
  const parents = new Map(layers.map(({ chainId, parent }) => [chainId, parent]));
  const depth = (chain: string): number => {
    let steps = 0;
    for (let at = parents.get(chain); at !== undefined && at !== ""; at = parents.get(at)) steps += 1;
    return steps;
  };
  return layers
    .map(({ chainId }) => ({ chainId, depth: depth(chainId) }))
    .sort((a, b) => a.depth - b.depth)
    .map(({ chainId }) => chainId);
}
