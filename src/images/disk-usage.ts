/** What images and the build cache take on the disk: every layer and blob is counted once, however many images have it. */
import type { OpContext } from "../base/op-context.ts";
import type { ImageRecord } from "../schema/image.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import { contentOf } from "./garbage.ts";
import type { ImageRoom } from "./image-room.ts";
import type { CacheOnDisk, ImageOnDisk, ImagesOnDisk, ImageUsers } from "./image-service.ts";

/** A layer or a blob. */
interface Piece {
  readonly bytes: number;
  readonly images: readonly ImageRecord[];
}

export async function measureImages(
  ctx: OpContext,
  room: Pick<ImageRoom, "images" | "content" | "conversions">,
  snapshotter: Snapshotter,
  users: ImageUsers,
): Promise<ImagesOnDisk> {
  const images = room.images.list();
  const used = new Set(images.flatMap(({ id }) => (users(id).length > 0 ? [id] : [])));
  const pieces = await piecesOf(ctx, images, room, snapshotter);
  const layers = (await snapshotter.layers()).map(({ chainId }) => chainId);
  const total = sum(await snapshotter.layersOnDisk(ctx, layers)) + (await room.content.diskUsage());

  const cached = pieces.filter(isOnlyCached);
  const free = pieces.filter((piece) => !piece.images.some(({ id }) => used.has(id)));
  const cacheSize = bytesOf(cached);
  return {
    total,
    imagesSize: total - cacheSize,
    imagesReclaimable: bytesOf(free.filter((piece) => !isOnlyCached(piece))),
    images: imagesOnDisk(images, pieces),
    cacheSize,
    cacheReclaimable: bytesOf(free.filter(isOnlyCached)),
    cache: cacheEntries(images, cached, used),
  };
}

async function piecesOf(
  ctx: OpContext,
  images: readonly ImageRecord[],
  { content, conversions }: Pick<ImageRoom, "content" | "conversions">,
  snapshotter: Snapshotter,
): Promise<readonly Piece[]> {
  const layers = new Map<string, ImageRecord[]>();
  const blobs = new Map<string, ImageRecord[]>();
  for (const image of images) {
    const { blobs: own, chains } = contentOf(image);
    const digests = new Set(own);
    for (const chain of new Set(chains)) push(layers, chain, image);
    for (const digest of new Set([...digests, ...conversions.resultsOf(digests)])) push(blobs, digest, image);
  }
  const onDisk = await snapshotter.layersOnDisk(ctx, [...layers.keys()]);
  const pieces = [...layers.values()].map((images, index) => ({ bytes: onDisk[index] ?? 0, images }));
  const stored = [...blobs].map(async ([digest, images]) => ({ bytes: await content.onDisk(digest), images }));
  return [...pieces, ...(await Promise.all(stored))];
}

/** In one pass over the pieces: there may be thousands of both. A build's steps are part of its image, they don't share with it. */
function imagesOnDisk(images: readonly ImageRecord[], pieces: readonly Piece[]): ReadonlyMap<string, ImageOnDisk> {
  const listed = images.filter(({ intermediate }) => !intermediate);
  const sizes = new Map(listed.map(({ id }) => [id, { size: 0, shared: 0 }]));
  for (const { bytes, images } of pieces) {
    const owners = images.flatMap(({ id }) => sizes.get(id) ?? []);
    for (const owner of owners) {
      owner.size += bytes;
      if (owners.length > 1) owner.shared += bytes;
    }
  }
  return sizes;
}

/** Each piece is told of the image with the fewest layers that has it: the step that made it. */
function cacheEntries(
  images: readonly ImageRecord[],
  cached: readonly Piece[],
  used: ReadonlySet<string>,
): readonly CacheOnDisk[] {
  const depth = ({ config }: ImageRecord) => config.rootfs.diff_ids.length;
  const own = new Map<string, number>();
  const unshared = new Set<string>();
  for (const { bytes, images } of cached) {
    for (const { id } of images) unshared.add(id);
    const maker = images.reduce((least, image) => (depth(image) < depth(least) ? image : least));
    own.set(maker.id, (own.get(maker.id) ?? 0) + bytes);
  }
  return images
    .filter(({ intermediate }) => intermediate)
    .map(({ id }) => ({ imageId: id, size: own.get(id) ?? 0, shared: !unshared.has(id), inUse: used.has(id) }));
}

function isOnlyCached({ images }: Piece): boolean {
  return images.every(({ intermediate }) => intermediate);
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [value]);
  else known.push(value);
}

const bytesOf = (pieces: readonly Piece[]) => sum(pieces.map(({ bytes }) => bytes));
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
