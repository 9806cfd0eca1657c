import type { Readable } from "node:stream";
import { shortId } from "../base/ids.ts";
import { cleanupContext, type OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { ImageRecord, Platform } from "../schema/image.ts";
import { type ArchivedImage, imagesOfArchive } from "./archive-images.ts";
import { chainIds } from "./chain-id.ts";
import { ImageArchive } from "./image-archive.ts";
import type { ImageRoom } from "./image-room.ts";
import { formatFamiliar, formatReference } from "./reference.ts";
import { isComplete } from "./store-image.ts";
import { throttled } from "./throttled.ts";

/** Takes in a docker-archive or OCI layout. An image is recorded only when all of it is stored and unpacked. */
export async function loadImages(
  ctx: OpContext,
  room: ImageRoom,
  source: Readable,
  progress: ProgressSink,
  platform: Platform | undefined,
): Promise<readonly ImageRecord[]> {
  await using archive = await ImageArchive.read(ctx, room, source);
  const loaded: ImageRecord[] = [];
  for (const image of await imagesOfArchive(ctx, room, archive, platform)) {
    loaded.push(await loadOne(ctx, room, image, progress));
  }
  return loaded;
}

async function loadOne(
  ctx: OpContext,
  room: ImageRoom,
  image: ArchivedImage,
  progress: ProgressSink,
): Promise<ImageRecord> {
  const { images, events } = room;
  const existing = images.get(image.id);
  const nameIt = () => image.tags.map((tag) => ({ tag, ...images.name(image.id, { tag: formatReference(tag) }) }));
  const changes =
    existing === undefined || !(await isComplete(room, existing))
      ? await storeOne(ctx, room, image, nameIt, progress)
      : images.atOnce(nameIt);

  const record = images.resolve(image.id);
  for (const { tag, previous } of changes) {
    const name = formatFamiliar(tag);
    if (previous !== undefined) {
      const { id } = previous;
      progress({ stream: `The image ${name} already exists, renaming the old one with ID ${id} to empty string\n` });
    }
    progress({ stream: `Loaded image: ${name}\n` });
  }
  if (image.tags.length === 0) progress({ stream: `Loaded image ID: ${image.id}\n` });
  events.changed("load", record);
  return record;
}

/** Stores the image and gives it its names in one transaction. */
async function storeOne<T>(
  ctx: OpContext,
  room: ImageRoom,
  image: ArchivedImage,
  nameIt: () => T,
  progress: ProgressSink,
): Promise<T> {
  const { images, leases, unpacker, garbage } = room;
  const chains = chainIds(image.config.rootfs.diff_ids);
  using lease = await leases.hold([...chains, image.manifest.digest]);
  try {
    const report = throttledByLayer(progress);
    const { id, config, manifest } = image;
    const { layers, size } = await unpacker.image(
      ctx,
      { layers: [...image.layers], config },
      ({ diffId }, current, total) => report(diffId, current, total),
    );
    return images.atOnce(() => {
      images.put({ id, config, manifest, layers, size, intermediate: false });
      return nameIt();
    });
  } catch (error) {
    lease[Symbol.dispose]();
    await garbage.collect(cleanupContext(ctx), { blobs: [image.manifest.digest], chains });
    throw error;
  }
}

function throttledByLayer(
  progress: ProgressSink,
): (diffId: string, current: number, total: number | undefined) => void {
  const reports = new Map<string, ReturnType<typeof throttled>>();
  return (diffId, current, total) => {
    const report =
      reports.get(diffId) ??
      throttled((current, total) =>
        progress({ id: shortId(diffId), status: "Loading layer", current, ...(total === undefined ? {} : { total }) }),
      );
    reports.set(diffId, report);
    report(current, total);
  };
}
