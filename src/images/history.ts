import type { ImageRecord } from "../schema/image.ts";
import type { ImageHistoryItem } from "./image-service.ts";
import type { ImageStore } from "./image-store.ts";
import { familiar } from "./reference.ts";

/**
 * How an image came about, newest step first. Ids are known only of steps that are images here: the image itself and its
 * parents.
 */
export function imageHistory(images: ImageStore, image: ImageRecord): readonly ImageHistoryItem[] {
  let layer = 0;
  const items = (image.config.history ?? []).map((entry): ImageHistoryItem => {
    const size = entry.empty_layer === true ? 0 : (image.layers[layer++]?.size ?? 0);
    return { ...entry, id: "<missing>", size, tags: [] };
  });
  items.reverse();
  let ancestor: ImageRecord | undefined = image;
  return items.map((item) => {
    if (ancestor === undefined) return item;
    const known = { ...item, id: ancestor.id, tags: ancestor.tags.map(familiar) };
    ancestor = ancestor.parentId === undefined ? undefined : images.get(ancestor.parentId);
    return known;
  });
}
