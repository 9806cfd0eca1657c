/** `--cache-from`: steps that an image's history shows, done by another engine or pulled from a registry. */
import { isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ImageLayer, ImageRecord } from "../schema/image.ts";
import type { Build } from "./build-parts.ts";
import type { StepState } from "./step-state.ts";

/**
 * The layer that a step led to in one of the build's cache sources: one whose layers and history begin like the state's and
 * go on with `createdBy`, which holds the digests of all that the step depends on. `layer` undefined: it changed no file.
 */
export async function findInCacheSources(
  ctx: OpContext,
  build: Build,
  state: StepState,
  createdBy: string,
): Promise<{ readonly layer: ImageLayer | undefined } | undefined> {
  if (build.request.noCache) return undefined;
  const before = state.image?.config.history ?? [];
  const below = state.image?.layers ?? [];
  for (const image of cacheSources(build)) {
    const history = image.config.history ?? [];
    const step = history[before.length];
    const sameHistory = before.every((entry, index) => entry.created_by === history[index]?.created_by);
    const sameLayers = below.every((layer, index) => layer.diffId === image.layers[index]?.diffId);
    if (step?.created_by !== createdBy || !sameHistory || !sameLayers) continue;
    if (step.empty_layer === true) return { layer: undefined };
    const layer = image.layers[below.length];
    if (layer === undefined) continue;
    await build.parts.images.unpack(ctx, image);
    return { layer };
  }
  return undefined;
}

/**
 * Which results of the engine's own cache a build may use. As in Docker's classic builder, naming cache sources means those and no
 * others: a result counts where a source was built on it, and with sources that are all missing none does.
 */
export function usableResults(build: Build): (imageId: string) => boolean {
  const { noCache, cacheFrom, ownCacheToo = false } = build.request;
  if (noCache || ownCacheToo || cacheFrom.length === 0) return () => !noCache;
  const images = new Map(build.parts.images.list({ intermediate: true }).map((image) => [image.id, image]));
  const lineage = new Set<string>();
  for (const source of cacheSources(build)) {
    for (let image: ImageRecord | undefined = source; image !== undefined && !lineage.has(image.id); ) {
      lineage.add(image.id);
      image = image.parentId === undefined ? undefined : images.get(image.parentId);
    }
  }
  return (imageId) => lineage.has(imageId);
}

/** A source that is not here is no error: the first build of all has none. */
function cacheSources(build: Build): readonly ImageRecord[] {
  return build.request.cacheFrom.flatMap((name) => {
    try {
      return [build.parts.images.resolve(name)];
    } catch (error) {
      if (isBerthError(error, "IMAGE_NOT_FOUND")) return [];
      throw error;
    }
  });
}
