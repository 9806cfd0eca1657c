import { messageOf, isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ImageRecord } from "../schema/image.ts";
import { imageErrors } from "./errors.ts";
import type { ImageRoom } from "./image-room.ts";
import { imageLease } from "./leases.ts";
import type { ImageUsers, PruneOptions, PruneReport, RemovedImage } from "./image-service.ts";
import { familiar } from "./reference.ts";
import type { ImageRemover } from "./remove.ts";

type Filter = (image: ImageRecord) => boolean;

/** What a pull left that was given up, and not tried again since. */
export const STALE_DOWNLOAD_MS = 24 * 3_600_000;

/** Who prunes wants the space now. Long enough for what was just stored to be named by the operation that stored it. */
const PRUNE_STALE_MS = 60_000;

const DURATION = /^(?:(\d+(?:\.\d+)?)(h|m|s|ms))+$/;
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** Removes what nobody uses: images without a name, or with `all` every one that no instance stands on. */
export async function pruneImages(
  ctx: OpContext,
  room: ImageRoom,
  remover: ImageRemover,
  users: ImageUsers,
  options: PruneOptions,
): Promise<PruneReport> {
  const filters = parseFilters(options, room.clock.now());
  const all = options.all || options.filters["dangling"]?.some(isFalse) === true;
  const deleted: RemovedImage[] = [];
  let reclaimedBytes = 0;
  /** What it is now, not what it was when the prune began: it may have been given a name, or lost it to another, since. */
  const unused = (id: string): ImageRecord | undefined => {
    const image = room.images.get(id);
    if (image === undefined || room.leases.isHeld(imageLease(id)) || users(id).length > 0) return undefined;
    const isDangling = image.tags.length === 0 && room.images.children(id).length === 0;
    return (all || isDangling) && filters.every((accepts) => accepts(image)) ? image : undefined;
  };
  for (const { id } of room.images.list()) {
    ctx.signal.throwIfAborted();
    const image = unused(id);
    if (image === undefined) continue;
    // Digests count as names: an image that has but those of several repositories is not removed by its id.
    const names = namesOf(image);
    // A parent without a name goes with its last child, not before.
    if (names.length === 0 && room.images.children(id).length > 0) continue;
    for (const name of names.length === 0 ? [id] : names) {
      const now = unused(id);
      if (now === undefined || (name !== id && !namesOf(now).includes(name))) continue;
      try {
        const subject = name === id ? id : familiar(name);
        const { removed, bytes } = await remover.remove(ctx, subject, { force: false, noPrune: false });
        deleted.push(...removed);
        reclaimedBytes += bytes;
      } catch (error) {
        // Someone took it into use, or away, meanwhile.
        if (!isBerthError(error, "IMAGE_IN_USE", "IMAGE_NOT_FOUND")) throw error;
        ctx.log.debug({ image: name, error: messageOf(error) }, "image not pruned");
      }
    }
  }
  reclaimedBytes += await room.garbage.sweepBlobs(ctx, PRUNE_STALE_MS);
  return { deleted, reclaimedBytes };
}

function namesOf({ tags, repoDigests }: ImageRecord): readonly string[] {
  return [...tags, ...repoDigests];
}

function parseFilters(options: PruneOptions, now: number): readonly Filter[] {
  const filters: Filter[] = [];
  for (const [name, values] of Object.entries(options.filters)) {
    for (const value of values) {
      const filter = parseFilter(name, value, now);
      if (filter === undefined) throw imageErrors.PRUNE_FILTER_INVALID({ filter: name, value });
      filters.push(filter);
    }
  }
  return filters;
}

function parseFilter(name: string, value: string, now: number): Filter | undefined {
  switch (name) {
    case "dangling":
      return isFalse(value) || /^(?:1|t|true)$/i.test(value) ? () => true : undefined;
    case "until": {
      const limit = parseTime(value, now);
      return limit === undefined
        ? undefined
        : ({ config }) => Date.parse(config.created ?? "1970-01-01T00:00:00Z") < limit;
    }
    case "label":
      return (image) => hasLabel(image, value);
    case "label!":
      return (image) => !hasLabel(image, value);
    default:
      return undefined;
  }
}

function hasLabel({ config }: ImageRecord, wanted: string): boolean {
  const labels = config.config?.Labels ?? {};
  const [key = "", ...rest] = wanted.split("=");
  return key in labels && (rest.length === 0 || labels[key] === rest.join("="));
}

/** "24h", "10m30s" ago; seconds since the epoch; or a date. */
function parseTime(value: string, now: number): number | undefined {
  if (DURATION.test(value)) {
    const parts = value.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g);
    return [...parts].reduce((limit, [, amount, unit = ""]) => limit - Number(amount) * (UNIT_MS[unit] ?? 0), now);
  }
  if (/^\d+(?:\.\d+)?$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : date;
}

function isFalse(value: string): boolean {
  return /^(?:0|f|false)$/i.test(value);
}
