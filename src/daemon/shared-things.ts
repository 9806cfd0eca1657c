import type { OpContext } from "../base/op-context.ts";
import { chainIds } from "../images/chain-id.ts";
import type { SharedThing } from "../schema/capacity.ts";
import type { LayerInfo } from "../snapshots/snapshotter.ts";
import type { CapacityParts } from "./capacity.ts";

/**
 * Layers and volumes that two or more use, each once, the largest first. The users of a layer are the instances that stand on it and
 * the images that have it and on which none stands; those of a volume are instances.
 */
export async function sharedThings(
  parts: Pick<CapacityParts, "images" | "instances" | "snapshotter" | "volumes">,
  ctx: OpContext,
): Promise<readonly SharedThing[]> {
  const [layers, volumes] = await Promise.all([sharedLayers(parts, ctx), sharedVolumes(parts, ctx)]);
  return [...layers, ...volumes].toSorted((a, b) => b.disk - a.disk);
}

async function sharedLayers(
  { images, instances, snapshotter }: Pick<CapacityParts, "images" | "instances" | "snapshotter">,
  ctx: OpContext,
): Promise<readonly SharedThing[]> {
  const layers = new Map((await snapshotter.layers()).map((layer) => [layer.chainId, layer]));
  const records = instances.list();
  const used = new Set(records.map(({ imageId }) => imageId));
  const stacks = [
    ...records.map(({ chainId }) => chainId),
    ...images
      .list()
      .filter(({ id }) => !used.has(id))
      .map(({ config }) => chainIds(config.rootfs.diff_ids).at(-1) ?? ""),
  ];
  const users = new Map<string, number>();
  for (const [top, count] of countEach(stacks)) {
    for (const { chainId } of stackOf(layers, top)) users.set(chainId, (users.get(chainId) ?? 0) + count);
  }
  const shared = [...users].filter(([, count]) => count > 1);
  const sizes = await snapshotter.layersOnDisk(
    ctx,
    shared.map(([chainId]) => chainId),
  );
  return shared.map(([name, users], index) => ({ kind: "layer", name, disk: sizes[index] ?? 0, users }));
}

async function sharedVolumes(
  { instances, volumes }: Pick<CapacityParts, "instances" | "volumes">,
  ctx: OpContext,
): Promise<readonly SharedThing[]> {
  const users = countEach(
    instances
      .list()
      .flatMap(({ spec }) => [
        ...new Set(spec.mounts.flatMap((mount) => (mount.type === "volume" ? [mount.name] : []))),
      ]),
  );
  const shared = [...users].filter(([, count]) => count > 1);
  const sizes = await volumes.diskUsage(
    ctx,
    shared.map(([name]) => name),
  );
  return shared.map(([name, users], index) => ({ kind: "volume", name, disk: sizes[index] ?? 0, users }));
}

function* stackOf(layers: ReadonlyMap<string, LayerInfo>, top: string): Iterable<LayerInfo> {
  for (let layer = layers.get(top); layer !== undefined; layer = layers.get(layer.parent)) yield layer;
}

function countEach(values: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}
