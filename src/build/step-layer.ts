/** Layers: what a step changed in a root file system. */
import { posix } from "node:path";
import type { ConfinedRoot, ConfinedRoots } from "../archive/confined-root.ts";
import { cleanupContext, type OpContext } from "../base/op-context.ts";
import type { ImageService } from "../images/image-service.ts";
import type { ImageLayer } from "../schema/image.ts";
import type { InstanceService } from "../instances/instance-service.ts";
import type { Change, Snapshotter } from "../snapshots/snapshotter.ts";
import { resolvePath } from "./tree-paths.ts";

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
async function commitSnapshot(
  ctx: OpContext,
  parts: Pick<LayerParts, "snapshotter" | "images">,
  snapshotId: string,
  known?: readonly Change[],
): Promise<ImageLayer | undefined> {
  const changes = known ?? (await parts.snapshotter.changes(ctx, snapshotId));
  if (changes.length === 0) return undefined;
  await using sink = await parts.images.layerSink(ctx);
  const { blob, diffId } = await parts.snapshotter.commit(ctx, snapshotId, sink, { consume: true });
  return { blob, diffId };
}

/**
 * What a finished container changed, as a stored layer; undefined when there is nothing. `targets` are where its own mounts were:
 * what the runtime made to mount them on, and nobody put anything into, is no part of it.
 */
export async function commitInstance(
  ctx: OpContext,
  parts: LayerParts & { readonly instances: InstanceService },
  instanceId: string,
  targets: readonly string[] = [],
): Promise<ImageLayer | undefined> {
  const changes = await parts.snapshotter.changes(ctx, instanceId);
  const added = new Set(changes.filter(({ kind }) => kind === "added").map(({ path }) => path));
  const made = mountPoints.filter((path) => added.has(path));
  if (made.length === 0 && (targets.length === 0 || added.size === 0)) {
    return await commitSnapshot(ctx, parts, instanceId, changes);
  }
  await parts.instances.withRootfs(ctx, instanceId, async (directory) => {
    await using root = await parts.roots.open(ctx, directory);
    for (const path of made) await removeEmpty(ctx, root, path);
    for (const path of await withParents(ctx, root, targets)) {
      if (added.has(path)) await removeEmpty(ctx, root, path);
    }
  });
  return await commitSnapshot(ctx, parts, instanceId);
}

/** The places, links on the way followed, and every directory above them: children before parents. */
async function withParents(ctx: OpContext, root: ConfinedRoot, targets: readonly string[]): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const target of targets) {
    const { path } = await resolvePath(ctx, root, target);
    for (let at = path; at !== "/"; at = posix.dirname(at)) found.add(at);
  }
  return [...found].sort((a, b) => b.length - a.length);
}

/** What a runtime makes in a root that lacks it, to mount something there. No step meant to. Children before parents. */
const mountPoints: readonly string[] = [
  "/etc/hostname",
  "/etc/hosts",
  "/etc/resolv.conf",
  "/etc",
  "/dev/console",
  "/dev/mqueue",
  "/dev/pts",
  "/dev/shm",
  "/dev",
  "/proc",
  "/sys",
];

async function removeEmpty(ctx: OpContext, root: ConfinedRoot, path: string): Promise<void> {
  const found = (await resolvePath(ctx, root, path)).stat;
  // It was a parent of several, or the command took it away itself.
  if (found === undefined) return;
  const { kind, size } = found;
  const empty = kind === "directory" ? (await root.list(ctx, path)).length === 0 : kind === "file" && size === 0;
  if (empty) await root.remove(ctx, path);
}
