import { describe, expect, test } from "vitest";
import { dockerArchive, openTestRoom, testImage, type TestRoom } from "./fake/test-images.ts";

const base = [{ name: "etc/base", data: "b".repeat(50_000) }];
const instance = { instanceId: "c0ffee", running: true };

async function twoThatShare(room: TestRoom) {
  const images = [
    testImage([base, [{ name: "etc/one", data: "1".repeat(20_000) }]]),
    testImage([base, [{ name: "etc/two", data: "2".repeat(90_000) }]]),
  ] as const;
  for (const [index, image] of images.entries()) {
    await room.images.load(room.ctx, dockerArchive(image, [`app:${index}`]), room.progress);
  }
  return images;
}

describe("disk usage", () => {
  test("counts what two images share once", async () => {
    await using room = await openTestRoom();
    const [one, two] = await twoThatShare(room);
    const usage = await room.images.diskUsage(room.ctx);
    const [first, second] = [usage.images.get(one.id), usage.images.get(two.id)];
    expect(first?.shared).toBeGreaterThan(50_000);
    expect(second?.shared).toBe(first?.shared);
    expect((first?.size ?? 0) + (second?.size ?? 0) - (first?.shared ?? 0)).toBe(usage.imagesSize);
    expect(usage).toMatchObject({ total: usage.imagesSize, imagesReclaimable: usage.imagesSize, cacheSize: 0 });
  });

  test("can give back what no used image has, and a prune says and frees that much", async () => {
    await using room = await openTestRoom();
    const [one, two] = await twoThatShare(room);
    room.users.set(one.id, [instance]);
    const before = await room.images.diskUsage(room.ctx);
    const own = before.images.get(two.id);
    expect(before.imagesReclaimable).toBe((own?.size ?? 0) - (own?.shared ?? 0));
    const { reclaimedBytes } = await room.images.prune(room.ctx, { all: true, filters: {} });
    const after = await room.images.diskUsage(room.ctx);
    expect(reclaimedBytes).toBe(before.imagesReclaimable);
    expect(before.total - after.total).toBe(reclaimedBytes);
    expect(after.imagesReclaimable).toBe(0);
  });

  test("keeps what only a build's step has apart from images", async () => {
    await using room = await openTestRoom();
    const [one] = await twoThatShare(room);
    const { imagesSize } = await room.images.diskUsage(room.ctx);
    const { layers } = room.images.resolve(one.id);
    const config = { ...one.config, author: "a step" };
    const step = await room.images.create(room.ctx, { config, layers, intermediate: true });
    const usage = await room.images.diskUsage(room.ctx);
    expect(usage.imagesSize).toBe(imagesSize);
    // Its layers are the image's: its own are its documents.
    expect(usage.cacheSize).toBeGreaterThan(0);
    expect(usage.cacheSize).toBeLessThan(20_000);
    expect(usage.cacheReclaimable).toBe(usage.cacheSize);
    expect(usage.cache).toEqual([{ imageId: step.id, size: usage.cacheSize, shared: false, inUse: false }]);
    expect(usage.images.has(step.id)).toBe(false);
  });
});
