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
    images: new Map(images.filter(({ intermediate }) => !intermediate).map(({ id }) => [id, imageOnDisk(id, pieces)])),
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
  const pieces: Piece[] = [...layers.values()].map((images, index) => ({ bytes: onDisk[index] ?? 0, images }));
  for (const [digest, images] of blobs) pieces.push({ bytes: await content.onDisk(digest), images });
  return pieces;
}

function imageOnDisk(id: string, pieces: readonly Piece[]): ImageOnDisk {
  const own = pieces.filter(({ images }) => images.some((image) => image.id === id));
  // A build's steps are part of its image, not images that share with it.
  const shared = own.filter(({ images }) => images.filter(({ intermediate }) => !intermediate).length > 1);
  return { size: bytesOf(own), shared: bytesOf(shared) };
}

/** Each piece is told of the oldest image that has it: the step that made it. */
function cacheEntries(
  images: readonly ImageRecord[],
  cached: readonly Piece[],
  used: ReadonlySet<string>,
): readonly CacheOnDisk[] {
  const told = new Set<Piece>();
  return images
    .filter(({ intermediate }) => intermediate)
    .toSorted((a, b) => a.config.rootfs.diff_ids.length - b.config.rootfs.diff_ids.length)
    .map((image) => {
      const has = cached.filter((piece) => piece.images.includes(image));
      const own = has.filter((piece) => !told.has(piece));
      for (const piece of own) told.add(piece);
      return { imageId: image.id, size: bytesOf(own), shared: has.length === 0, inUse: used.has(image.id) };
    });
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
