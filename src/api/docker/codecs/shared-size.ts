import type { ImageService } from "../../../images/image-service.ts";
import type { ImageRecord } from "../../../schema/image.ts";

/** Bytes of each image's layers that other images have as well: Docker's SharedSize, by image id. */
export function sharedSizes(images: Pick<ImageService, "list" | "history">): ReadonlyMap<string, number> {
  const records = images.list({ intermediate: true });
  const users = new Map<string, number>();
  const chains = new Map(records.map((image) => [image.id, chainKeys(image)] as const));
  // A build's steps are part of its image, not images that share with it.
  const counted = records.filter(({ intermediate }) => !intermediate).flatMap(({ id }) => chains.get(id) ?? []);
  for (const key of counted) users.set(key, (users.get(key) ?? 0) + 1);
  return new Map(
    records.map((image) => {
      const sizes = layerSizes(image, images);
      const shared = (chains.get(image.id) ?? []).map((key, index) =>
        (users.get(key) ?? 0) > 1 ? (sizes[index] ?? 0) : 0,
      );
      return [image.id, shared.reduce((sum, size) => sum + size, 0)] as const;
    }),
  );
}

/** A layer is the same only on the same layers below it. */
function chainKeys(image: ImageRecord): readonly string[] {
  const keys: string[] = [];
  for (const diffId of image.config.rootfs.diff_ids) keys.push(`${keys.at(-1) ?? ""} ${diffId}`);
  return keys;
}

/** Unpacked bytes, bottom to top. */
function layerSizes(image: ImageRecord, images: Pick<ImageService, "history">): readonly number[] {
  return images
    .history(image.id)
    .toReversed()
    .filter((item) => item.empty_layer !== true)
    .map((item) => item.size);
}
