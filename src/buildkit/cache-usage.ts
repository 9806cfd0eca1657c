/** The builder's cache, as `docker buildx du` and `docker buildx prune` see it: a record for each step and each directory. */
import type { OpContext } from "../base/op-context.ts";
import type { BuildService } from "../build/build-service.ts";
import { cacheTypes } from "../build/cache-types.ts";
import type { CacheDirectoryUsage } from "../build/mounts/cache-directories.ts";
import type { ImageService } from "../images/image-service.ts";
import { buildKitErrors } from "./errors.ts";
import type { PruneRequest, UsageRecord } from "./wire/control.ts";

export interface CacheUsage {
  /** Of the image, or of the directory. */
  readonly id: string;
  readonly record: Partial<UsageRecord>;
}

export async function cacheUsage(
  ctx: OpContext,
  { images, builder }: { readonly images: ImageService; readonly builder: BuildService },
): Promise<readonly CacheUsage[]> {
  return [...(await stepUsage(ctx, images)), ...(await builder.cacheDirectories(ctx)).map(directoryUsage)];
}

function directoryUsage(directory: CacheDirectoryUsage): CacheUsage {
  const { id, description, bytes, inUse, uses } = directory;
  return {
    id,
    record: {
      ID: shorten(id),
      Mutable: true,
      Size: bytes,
      InUse: inUse,
      RecordType: cacheTypes.directory,
      Description: description,
      UsageCount: uses,
      ...timestamp("CreatedAt", directory.createdAt),
      ...timestamp("LastUsedAt", directory.lastUsedAt),
    },
  };
}

async function stepUsage(ctx: OpContext, images: ImageService): Promise<readonly CacheUsage[]> {
  const { cache } = await images.diskUsage(ctx);
  const byId = new Map(images.list({ intermediate: true }).map((image) => [image.id, image]));
  return cache.map(({ imageId, size, shared, inUse }) => {
    const image = byId.get(imageId);
    const parent = image?.parentId;
    return {
      id: imageId,
      record: {
        ID: shorten(imageId),
        Size: size,
        Shared: shared,
        InUse: inUse,
        RecordType: cacheTypes.step,
        Description: image?.config.history?.at(-1)?.created_by ?? "",
        ...timestamp("CreatedAt", image?.config.created ?? ""),
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
  const types: string[] = [];
  for (const filter of request.filter) {
    if (filter === "") continue;
    const type = /^type={1,2}(\S+)$/.exec(filter)?.[1];
    if (type === undefined) throw buildKitErrors.BUILDKIT_UNSUPPORTED({ what: `the filter ${filter}` });
    types.push(type);
  }
  return {
    ...(types.length === 0 ? {} : { type: types }),
    ...(request.keepDuration === 0 ? {} : { until: [`${Math.ceil(request.keepDuration / 1e9)}s`] }),
  };
}

/** Nothing for what is no time. */
function timestamp(name: "CreatedAt" | "LastUsedAt", iso: string): Partial<UsageRecord> {
  const time = Date.parse(iso);
  return Number.isNaN(time) ? {} : { [name]: { seconds: Math.floor(time / 1000), nanos: 0 } };
}

function shorten(imageId: string): string {
  return imageId.replace(/^sha256:/, "").slice(0, 25);
}
