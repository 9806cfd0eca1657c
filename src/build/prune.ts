import { isBerthError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { OpContext } from "../base/op-context.ts";
import { parseGoDuration } from "../dockerfile/go-format.ts";
import type { ImageService } from "../images/image-service.ts";
import type { ImageRecord } from "../schema/image.ts";
import type { EventBus } from "../state/events.ts";
import type { BuildCache, CacheRecord } from "./build-cache.ts";
import { cacheTypes } from "./cache-types.ts";
import { buildErrors } from "./errors.ts";
import type { CacheDirectories } from "./mounts/cache-directories.ts";

export interface PruneParts {
  readonly cache: BuildCache;
  readonly caches: CacheDirectories;
  readonly images: ImageService;
  readonly events: EventBus;
  readonly clock: Clock;
}

/**
 * Forgets steps, and removes the intermediate images that nothing else needs; removes the directories of cache mounts that no step
 * has. Without `all` those steps stay that led to an image which is still listed. Filters: `until` (not used since), `id` (an image's
 * or a directory's, or its beginning), `type` (see {@link cacheTypes}).
 */
export async function pruneBuildCache(
  ctx: OpContext,
  parts: PruneParts,
  options: { readonly all: boolean; readonly filters: Readonly<Record<string, readonly string[]>> },
): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }> {
  const matches = filter(parts, options.filters);
  const chosen = ({ imageId, createdAt }: CacheRecord): boolean =>
    matches({ id: imageId.replace(/^sha256:/, ""), type: cacheTypes.step, usedAt: createdAt });
  const inUse = options.all ? new Set<string>() : ancestorsOfListed(parts.images);
  const before = await parts.images.diskUsage(ctx);
  const records = parts.cache.list().filter((record) => chosen(record) && !inUse.has(record.imageId));
  for (const record of records) parts.cache.forget(record.key);
  // Children before their parents.
  for (const record of records.toSorted((a, b) => (a.createdAt < b.createdAt ? 1 : -1))) {
    await removeIntermediate(ctx, parts, record.imageId);
  }
  const after = await parts.images.diskUsage(ctx);
  const directories = await parts.caches.prune(ctx, ({ id, lastUsedAt }) =>
    matches({ id, type: cacheTypes.directory, usedAt: lastUsedAt }),
  );
  const reclaimedBytes = directories.reduce((sum, { bytes }) => sum + bytes, Math.max(0, before.total - after.total));
  parts.events.publish({
    type: "builder",
    action: "prune",
    actorId: "",
    attributes: { reclaimed: String(reclaimedBytes) },
  });
  return { deleted: [...records.map(({ key }) => key), ...directories.map(({ id }) => id)], reclaimedBytes };
}

async function removeIntermediate(ctx: OpContext, { images }: PruneParts, imageId: string): Promise<void> {
  const image = images.list({ intermediate: true }).find(({ id }) => id === imageId);
  if (image === undefined || !image.intermediate) return;
  if (images.list({ intermediate: true }).some(({ parentId }) => parentId === imageId)) return;
  try {
    await images.remove(ctx, imageId, { force: false, noPrune: true });
  } catch (error) {
    // Another build or a container has come to need it.
    if (!isBerthError(error) || (error.status !== 409 && error.status !== 404)) throw error;
    ctx.log.debug({ image: imageId, error: error.message }, "kept an intermediate image");
  }
}

/** Ids of listed images and of all that they were made from. */
function ancestorsOfListed(images: ImageService): ReadonlySet<string> {
  const byId = new Map(images.list({ intermediate: true }).map((image) => [image.id, image]));
  const found = new Set<string>();
  for (const listed of byId.values()) {
    if (listed.intermediate) continue;
    let image: ImageRecord | undefined = listed;
    while (image !== undefined && !found.has(image.id)) {
      found.add(image.id);
      image = image.parentId === undefined ? undefined : byId.get(image.parentId);
    }
  }
  return found;
}

/** A part of the cache, as filters see it. */
interface Prunable {
  /** Hexadecimal. */
  readonly id: string;
  readonly type: string;
  /** ISO 8601. */
  readonly usedAt: string;
}

function filter(parts: PruneParts, filters: Readonly<Record<string, readonly string[]>>): (entry: Prunable) => boolean {
  const tests: ((entry: Prunable) => boolean)[] = [];
  for (const [name, values] of Object.entries(filters)) {
    switch (name) {
      case "until":
        for (const value of values) {
          const limit = untilTime(value, parts.clock.now());
          tests.push(({ usedAt }) => Date.parse(usedAt) < limit);
        }
        break;
      case "id":
        tests.push(({ id }) => values.some((value) => id.startsWith(value.replace(/^sha256:/, ""))));
        break;
      case "type":
        tests.push(({ type }) => values.includes(type));
        break;
      default:
        throw buildErrors.BUILD_OPTION_UNSUPPORTED({
          option: `filter ${name}`,
          reason: "known are until, id and type",
        });
    }
  }
  return (entry) => tests.every((test) => test(entry));
}

/** "24h", a Unix time, or a date. Milliseconds since the epoch. */
function untilTime(text: string, now: number): number {
  const ago = parseGoDuration(text);
  const time = ago !== undefined ? now - ago / 1e6 : /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(time)) {
    throw buildErrors.BUILD_OPTION_UNSUPPORTED({
      option: "filter until",
      reason: `${text} is neither a duration nor a time`,
    });
  }
  return time;
}
