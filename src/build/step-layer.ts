/** Layers: what a step changed in a root file system. */
import type { ConfinedRoot, ConfinedRoots } from "../archive/confined-root.ts";
import { cleanupContext, type OpContext } from "../base/op-context.ts";
import type { ImageService } from "../images/image-service.ts";
import type { ImageLayer } from "../schema/image.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";

export interface LayerParts {
  readonly snapshotter: Snapshotter;
  readonly images: ImageService;
  readonly roots: ConfinedRoots;
}

/**
 * Lets `work` change the root file system `chainId` in a snapshot named `snapshotId`, and makes the changes a layer.
 * Undefined when there are none. The snapshot is gone afterwards, whatever happens.
 */
export async function changeRoot(
  ctx: OpContext,
  parts: LayerParts,
  snapshot: { readonly id: string; readonly parent: string },
  work: (root: ConfinedRoot) => Promise<void>,
): Promise<ImageLayer | undefined> {
  try {
    await parts.snapshotter.prepare(ctx, snapshot.id, snapshot.parent);
    const directory = await parts.snapshotter.mount(ctx, snapshot.id);
    {
      await using root = await parts.roots.open(ctx, directory);
      await work(root);
    }
    return await commitSnapshot(ctx, parts, snapshot.id);
  } finally {
    await parts.snapshotter.remove(cleanupContext(ctx), snapshot.id);
  }
}

/** The snapshot's changes as a stored layer, which takes the snapshot; undefined when there are none. */
export async function commitSnapshot(
  ctx: OpContext,
  parts: Pick<LayerParts, "snapshotter" | "images">,
  snapshotId: string,
): Promise<ImageLayer | undefined> {
  const changes = await parts.snapshotter.changes(ctx, snapshotId);
  if (changes.length === 0) return undefined;
  const sink = await parts.images.layerSink(ctx);
  const { blob, diffId } = await parts.snapshotter.commit(ctx, snapshotId, sink, { consume: true });
  return { blob, diffId };
}
