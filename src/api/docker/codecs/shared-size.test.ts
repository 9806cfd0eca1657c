import { expect, it } from "vitest";
import type { ImageService } from "../../../images/image-service.ts";
import type { ImageRecord } from "../../../schema/image.ts";
import { sharedSizes } from "./shared-size.ts";

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;

function image(name: string, layers: string, intermediate: boolean): ImageRecord {
  const diffIds = layers.split("").map(digest);
  const blob = { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: digest("0"), size: 1 };
  return {
    id: digest(name),
    manifest: blob,
    layers: diffIds.map((diffId) => ({ blob, diffId, size: 10 })),
    config: { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: diffIds } },
    tags: [],
    repoDigests: [],
    size: 10 * diffIds.length,
    intermediate,
  };
}

it("counts what images share with one another, not with the steps that built them", () => {
  const records = [image("1", "a", false), image("2", "ab", true), image("3", "ab", false)];
  const images: Pick<ImageService, "list" | "history"> = {
    list: () => records,
    history: (id) =>
      (records.find((record) => record.id === id)?.layers ?? []).map(() => ({ id: "<missing>", size: 10, tags: [] })),
  };
  const shared = sharedSizes(images);
  expect([shared.get(digest("1")), shared.get(digest("3"))]).toEqual([10, 10]);
});
