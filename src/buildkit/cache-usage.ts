/** The builder's cache, as `docker buildx du` and `docker buildx prune` see it: a record for each step. */
import type { OpContext } from "../base/op-context.ts";
import type { ImageService } from "../images/image-service.ts";
import { buildKitErrors } from "./errors.ts";
import type { PruneRequest, UsageRecord } from "./wire/control.ts";

export interface CacheUsage {
  readonly imageId: string;
  readonly record: Partial<UsageRecord>;
}

export async function cacheUsage(ctx: OpContext, images: ImageService): Promise<readonly CacheUsage[]> {
  const { cache } = await images.diskUsage(ctx);
  const byId = new Map(images.list({ intermediate: true }).map((image) => [image.id, image]));
  return cache.map(({ imageId, size, shared, inUse }) => {
    const image = byId.get(imageId);
    const created = Date.parse(image?.config.created ?? "");
    const parent = image?.parentId;
    return {
      imageId,
      record: {
        ID: shorten(imageId),
        Size: size,
        Shared: shared,
        InUse: inUse,
        RecordType: "regular",
        Description: image?.config.history?.at(-1)?.created_by ?? "",
        ...(Number.isNaN(created) ? {} : { CreatedAt: { seconds: Math.floor(created / 1000), nanos: 0 } }),
        ...(parent === undefined ? {} : { Parents: [shorten(parent)] }),
      },
    };
  });
}

/** The cache's own filters, of a client's request. */
export function pruneFilters(request: PruneRequest): Readonly<Record<string, readonly string[]>> {
  if (request.reservedSpace !== 0 || request.maxUsedSpace !== 0 || request.minFreeSpace !== 0) {
    throw buildKitErrors.BUILDKIT_UNSUPPORTED({ what: "pruning to a size" });
  }
  const filter = request.filter.find((text) => text !== "");
  if (filter !== undefined) throw buildKitErrors.BUILDKIT_UNSUPPORTED({ what: `the filter ${filter}` });
  return request.keepDuration === 0 ? {} : { until: [`${Math.ceil(request.keepDuration / 1e9)}s`] };
}

function shorten(imageId: string): string {
  return imageId.replace(/^sha256:/, "").slice(0, 25);
}
