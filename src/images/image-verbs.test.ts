import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { tarOf } from "../archive/fake/tar-builder.ts";
import { shortId } from "../base/ids.ts";
import type { ImageRecord } from "../schema/image.ts";
import { chainIds, sha256 } from "./chain-id.ts";
import { bytesOf, dockerArchive, openTestRoom, type TestImage, testImage, type TestRoom } from "./fake/test-images.ts";

const BASE = [
  { name: "etc/", type: "directory" as const },
  { name: "etc/base", data: "base" },
];
const KEEP = { force: false, noPrune: false };
const INSTANCE = "c0ffee".repeat(10);

async function load(room: TestRoom, image: TestImage, ...tags: readonly string[]): Promise<ImageRecord> {
  const [record] = await room.images.load(room.ctx, dockerArchive(image, tags), room.progress);
  if (record === undefined) throw new Error("nothing loaded");
  return record;
}

describe("load", () => {
  test("a docker-archive: recorded, unpacked, named, with its events and lines", async () => {
    await using room = await openTestRoom();
    const image = testImage([BASE, [{ name: "etc/top", data: "top" }]], { compression: "none" });
    const record = await load(room, image, "app:1", "app:2");
    expect(record).toMatchObject({
      id: image.id,
      size: 7,
      tags: ["docker.io/library/app:1", "docker.io/library/app:2"],
    });
    expect(room.lines.slice(-2)).toEqual(["Loaded image: app:1", "Loaded image: app:2"]);
    expect(room.events()).toEqual([`load ${image.id}`]);
    await using view = await room.snapshotter.view(room.ctx, await room.images.unpack(room.ctx, record));
    expect(view.root).toBeTruthy();
    expect((await room.snapshotter.layers()).map(({ chainId }) => chainId)).toEqual(
      chainIds(image.config.rootfs.diff_ids),
    );
  });

  test("compressed archives, compressed layers, and links between layers", async () => {
    await using room = await openTestRoom();
    const image = testImage([BASE], { compression: "zstd" });
    const plain = await bytesOf(dockerArchive(image, ["app:1"]));
    await room.images.load(room.ctx, Readable.from([gzipSync(plain)]), room.progress);
    expect(room.images.resolve("app:1").layers[0]?.blob.mediaType).toMatch(/zstd$/);

    const twice = testImage([BASE, BASE], { compression: "none" });
    const configName = `${twice.id.slice(7)}.json`;
    const linked = tarOf(
      { name: "a/layer.tar", data: twice.layers[0]?.bytes ?? "" },
      { name: "b/layer.tar", type: "symlink", linkName: "../a/layer.tar" },
      { name: configName, data: twice.configBytes },
      { name: "manifest.json", data: JSON.stringify([{ Config: configName, Layers: ["a/layer.tar", "b/layer.tar"] }]) },
    );
    await room.images.load(room.ctx, Readable.from([linked]), room.progress);
    expect(room.lines.at(-1)).toBe(`Loaded image ID: ${twice.id}`);
  });

  test("a name that another image has moves to the loaded one", async () => {
    await using room = await openTestRoom();
    const old = await load(room, testImage([BASE]), "app:1");
    await load(room, testImage([[{ name: "other", data: "x" }]]), "app:1");
    expect(room.lines).toContain(
      `The image app:1 already exists, renaming the old one with ID ${old.id} to empty string`,
    );
    expect(room.images.resolve(old.id).tags).toEqual([]);
  });

  test.each([
    [
      "an archive from before Docker 1.10",
      [
        { name: "repositories", data: "{}" },
        { name: `${"a".repeat(64)}/json`, data: "{}" },
        { name: `${"a".repeat(64)}/layer.tar`, data: "x" },
      ],
      /before Docker 1.10/,
    ],
    ["no manifest", [{ name: "hello", data: "x" }], /neither manifest.json nor an index.json/],
    ["a missing layer", [{ name: "manifest.json", data: '[{"Config":"c.json","Layers":["l"]}]' }], /has no "c.json"/],
    ["a malformed manifest", [{ name: "manifest.json", data: '{"Config":1}' }], /manifest.json is malformed/],
    ["broken JSON", [{ name: "manifest.json", data: "[" }], /manifest.json/],
    [
      "a blob whose name is a lie",
      [{ name: `blobs/sha256/${"0".repeat(64)}`, data: "x" }],
      /blobs\/sha256\/0{64} .*digest/,
    ],
  ])("%s is refused and leaves nothing", async (_name, entries, message) => {
    await using room = await openTestRoom();
    await expect(room.images.load(room.ctx, Readable.from([tarOf(...entries)]), room.progress)).rejects.toThrow(
      message,
    );
    expect(await room.blobs()).toEqual([]);
    expect(room.images.list()).toEqual([]);
  });

  test("a cut archive and a layer with the wrong digest leave nothing", async () => {
    await using room = await openTestRoom();
    const whole = await bytesOf(dockerArchive(testImage([BASE]), ["app:1"]));
    const cut = Readable.from([whole.subarray(0, 520)]);
    await expect(room.images.load(room.ctx, cut, room.progress)).rejects.toMatchObject({ code: "ARCHIVE_TRUNCATED" });

    const image = testImage([BASE, [{ name: "x", data: "x" }]], { compression: "none" });
    const swapped = { ...image, layers: image.layers.toReversed() };
    await expect(load(room, swapped, "app:1")).rejects.toMatchObject({ code: "LAYER_DIGEST_MISMATCH" });
    expect(await room.blobs()).toEqual([]);
    expect(await room.snapshotter.layers()).toEqual([]);
    expect(room.images.list()).toEqual([]);
  });
});

describe("save", () => {
  test("what is saved is loaded again as the same image, with the same manifest", async () => {
    await using one = await openTestRoom();
    const image = await load(one, testImage([BASE], { compression: "zstd" }), "app:1", "app:2", "other:1");
    const saved = await bytesOf(await one.images.save(one.ctx, ["app", "other:1"]));
    await using two = await openTestRoom();
    const [record] = await two.images.load(two.ctx, Readable.from([saved]), two.progress);
    expect(record).toMatchObject({ id: image.id, manifest: { digest: image.manifest.digest } });
    expect(record?.tags.toSorted()).toEqual([
      "docker.io/library/app:1",
      "docker.io/library/app:2",
      "docker.io/library/other:1",
    ]);
    expect(await bytesOf(await two.images.save(two.ctx, ["app", "other:1"]))).toEqual(saved);
    expect(one.events().at(-1)).toBe(`save ${image.id}`);
  });

  test("an id has no names in the archive, and what is unknown is refused before anything is sent", async () => {
    await using room = await openTestRoom();
    const image = await load(room, testImage([BASE]), "app:1");
    const saved = await bytesOf(await room.images.save(room.ctx, [image.id]));
    expect(saved.toString("latin1")).toContain('"RepoTags":null');
    await expect(room.images.save(room.ctx, ["nothing"])).rejects.toThrow("No such image: nothing:latest");
  });
});

describe("import", () => {
  test("a tar becomes an image of one layer, with the changes", async () => {
    await using room = await openTestRoom();
    const tar = tarOf(...BASE);
    const record = await room.images.import(
      room.ctx,
      {
        tar: Readable.from([gzipSync(tar)]),
        reference: "imported",
        changes: ['CMD ["a"]', "ENV A=b"],
        message: "mine",
      },
      room.progress,
    );
    expect(record).toMatchObject({
      tags: ["docker.io/library/imported:latest"],
      size: 4,
      layers: [{ diffId: sha256(tar) }],
      config: { config: { Cmd: ["a"], Env: ["A=b"] }, history: [{ comment: "mine" }] },
    });
    expect(room.lines).toEqual(["Importing"]);
    expect(room.events()).toEqual([`import ${record.id}`]);
  });

  test("what is no tar, and a change that is not allowed, leave nothing", async () => {
    await using room = await openTestRoom();
    const garbage = Readable.from([Buffer.alloc(2048, "x")]);
    await expect(room.images.import(room.ctx, { tar: garbage, changes: [] }, room.progress)).rejects.toThrow();
    const tar = Readable.from([tarOf(...BASE)]);
    await expect(room.images.import(room.ctx, { tar, changes: ["RUN x"] }, room.progress)).rejects.toThrow(/RUN/i);
    expect(await room.blobs()).toEqual([]);
    expect(await room.snapshotter.layers()).toEqual([]);
  });
});

describe("remove", () => {
  test("a name is taken away first; the image goes with its last", async () => {
    await using room = await openTestRoom();
    const image = await load(room, testImage([BASE]), "app:1", "app:2");
    expect(await room.images.remove(room.ctx, "app:1", KEEP)).toEqual([{ untagged: "app:1" }]);
    expect(await room.images.remove(room.ctx, "app:2", KEEP)).toEqual([
      { untagged: "app:2" },
      { deleted: image.id },
      { deleted: chainIds(image.config.rootfs.diff_ids)[0] },
    ]);
    expect(await room.blobs()).toEqual([]);
    expect(room.events().slice(-3)).toEqual([`untag ${image.id}`, `untag ${image.id}`, `delete ${image.id}`]);
  });

  test("by id: names of several repositories must be forced", async () => {
    await using room = await openTestRoom();
    const image = await load(room, testImage([BASE]), "app:1", "other:1");
    const short = shortId(image.id);
    await expect(room.images.remove(room.ctx, short, KEEP)).rejects.toMatchObject({
      status: 409,
      message: `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
    });
    expect(await room.images.remove(room.ctx, short, { ...KEEP, force: true })).toContainEqual({ deleted: image.id });
  });

  test("an image in use: stopped users can be overruled, running ones can't", async () => {
    await using room = await openTestRoom();
    const image = await load(room, testImage([BASE]), "app:1");
    const short = shortId(image.id);
    const user = shortId(INSTANCE);
    room.users.set(image.id, [{ instanceId: INSTANCE, running: false }]);
    await expect(room.images.remove(room.ctx, "app:1", KEEP)).rejects.toThrow(
      `conflict: unable to remove repository reference "app:1" (must force) - container ${user} is using its referenced image ${short}`,
    );
    await expect(room.images.remove(room.ctx, image.id, KEEP)).rejects.toThrow(
      `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container ${user}`,
    );
    room.users.set(image.id, [{ instanceId: INSTANCE, running: true }]);
    await expect(room.images.remove(room.ctx, image.id, { ...KEEP, force: true })).rejects.toThrow(
      `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container ${user}`,
    );
    expect(room.images.resolve("app:1").id).toBe(image.id);
    // By name the force takes the name; the image stays for its user.
    expect(await room.images.remove(room.ctx, "app:1", { ...KEEP, force: true })).toEqual([{ untagged: "app:1" }]);
    expect(room.images.resolve(image.id).tags).toEqual([]);
  });

  test("what a forced removal had to leave to an instance goes with the instance", async () => {
    await using room = await openTestRoom();
    const image = await load(room, testImage([BASE, [{ name: "top", data: "t" }]]), "app:1");
    const chainId = await room.images.unpack(room.ctx, image);
    room.users.set(image.id, [{ instanceId: INSTANCE, running: false }]);
    await room.snapshotter.prepare(room.ctx, INSTANCE, chainId);
    const instance = { imageId: image.id, chainId };
    await room.images.release(room.ctx, instance);
    expect(await room.snapshotter.layers()).toHaveLength(2);
    await room.images.remove(room.ctx, image.id, { ...KEEP, force: true });
    expect(await room.snapshotter.layers()).toHaveLength(2);
    await room.snapshotter.remove(room.ctx, INSTANCE);
    await room.images.release(room.ctx, instance);
    expect(await room.snapshotter.layers()).toEqual([]);
  });

  test("layers that another image stands on stay", async () => {
    await using room = await openTestRoom();
    const base = await load(room, testImage([BASE]), "base:1");
    const both = await load(room, testImage([BASE, [{ name: "top", data: "t" }]]), "both:1");
    await room.images.remove(room.ctx, "both:1", KEEP);
    expect((await room.snapshotter.layers()).map(({ chainId }) => chainId)).toEqual(
      chainIds(base.config.rootfs.diff_ids),
    );
    expect(await room.images.unpack(room.ctx, base)).toBe(chainIds(base.config.rootfs.diff_ids)[0]);
    expect(both.id).not.toBe(base.id);
  });
});

describe("create, history, list", () => {
  async function child(room: TestRoom, parent: ImageRecord, text: string, options: { intermediate?: boolean } = {}) {
    const sink = await room.images.layerSink(room.ctx);
    const tar = tarOf({ name: text, data: text });
    await sink.write(tar);
    const blob = await sink.finish();
    const diffId = sha256(tar);
    return await room.images.create(room.ctx, {
      config: {
        ...parent.config,
        rootfs: { type: "layers", diff_ids: [...parent.config.rootfs.diff_ids, diffId] },
        history: [...(parent.config.history ?? []), { created_by: `RUN ${text}` }],
      },
      layers: [...parent.layers, { blob, diffId }],
      parentId: parent.id,
      ...options,
    });
  }

  test("history names the parents that are here; removal takes them along", async () => {
    await using room = await openTestRoom();
    const base = await load(room, testImage([BASE]), "base:1");
    const step = await child(room, base, "one", { intermediate: true });
    const top = await child(room, step, "three");
    await room.images.tag(room.ctx, top.id, "app:1");
    expect(room.images.history("app:1").map(({ id, size, created_by }) => [id, size, created_by])).toEqual([
      [top.id, 5, "RUN three"],
      [step.id, 3, "RUN one"],
      [base.id, 0, 'CMD ["sh"]'],
      ["<missing>", 4, "layer 0"],
    ]);
    expect(
      room.images
        .list()
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual([base.id, top.id].toSorted());
    await expect(room.images.remove(room.ctx, base.id, { ...KEEP, force: true })).rejects.toThrow(
      /cannot be forced\) - image has dependent child images/,
    );
    const removed = await room.images.remove(room.ctx, "app:1", KEEP);
    expect(removed).toContainEqual({ deleted: step.id });
    expect(room.images.list({ intermediate: true }).map(({ id }) => id)).toEqual([base.id]);
  });

  test("a layer that nobody stored is refused", async () => {
    await using room = await openTestRoom();
    const { config, layers } = await load(room, testImage([BASE]), "base:1");
    await room.images.remove(room.ctx, "base:1", KEEP);
    await expect(room.images.create(room.ctx, { config, layers })).rejects.toMatchObject({
      code: "IMAGE_LAYER_MISSING",
    });
  });

  test("a sink that is given up leaves nothing", async () => {
    await using room = await openTestRoom();
    {
      await using sink = await room.images.layerSink(room.ctx);
      await sink.write(Buffer.alloc(1000));
    }
    expect(await room.blobs()).toEqual([]);
  });

  test("whoever gives up making or naming an image finds nothing of it", async () => {
    await using room = await openTestRoom();
    const { config, layers } = await load(room, testImage([BASE]), "base:1");
    const gone = new AbortController();
    const ctx = { ...room.ctx, signal: gone.signal };
    const creating = room.images.create(ctx, { config, layers, reference: "late:1" });
    gone.abort();
    await expect(creating).rejects.toThrow("aborted");
    await expect(room.images.tag(ctx, "base:1", "late:1")).rejects.toThrow("aborted");
    expect(() => room.images.resolve("late:1")).toThrow("No such image");
  });

  test("names are looked up as Docker does", async () => {
    await using room = await openTestRoom();
    const image = await load(room, testImage([BASE]), "app:1");
    for (const name of ["app:1", "docker.io/library/app:1", image.id, image.id.slice(7), image.id.slice(7, 19)]) {
      expect(room.images.resolve(name).id).toBe(image.id);
    }
    expect(() => room.images.resolve("app")).toThrow("No such image: app:latest");
    expect(() => room.images.resolve("APP")).toThrow("must be lowercase");
    await expect(room.images.tag(room.ctx, "app:1", `x@${image.id}`)).rejects.toThrow(/digest reference/);
  });
});

describe("prune", () => {
  test("dangling images only, unless all are asked for; used ones never", async () => {
    await using room = await openTestRoom();
    const dangling = await load(room, testImage([[{ name: "a", data: "a" }]]));
    const unused = await load(room, testImage([[{ name: "b", data: "b" }]]), "unused:1");
    const used = await load(room, testImage([[{ name: "c", data: "c" }]]), "used:1");
    room.users.set(used.id, [{ instanceId: INSTANCE, running: false }]);
    const first = await room.images.prune(room.ctx, { all: false, filters: {} });
    expect(first.deleted).toContainEqual({ deleted: dangling.id });
    expect(first.reclaimedBytes).toBeGreaterThan(0);
    expect(
      room.images
        .list()
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual([unused.id, used.id].toSorted());
    const second = await room.images.prune(room.ctx, { all: false, filters: { dangling: ["false"] } });
    expect(second.deleted).toContainEqual({ untagged: "unused:1" });
    expect(room.images.list().map(({ id }) => id)).toEqual([used.id]);
  });

  test("goes by what an image is when its turn comes", async () => {
    await using room = await openTestRoom();
    await load(room, testImage([[{ name: "a", data: "a" }]]));
    await load(room, testImage([[{ name: "b", data: "b" }]]));
    const pruning = room.images.prune(room.ctx, { all: false, filters: {} });
    const [left] = room.images.list();
    await room.images.tag(room.ctx, left?.id ?? "", "named:1");
    await pruning;
    expect(room.images.list().map(({ tags }) => tags)).toEqual([["docker.io/library/named:1"]]);
  });

  test.each([
    [{ until: ["2024-06-01T00:00:00Z"] }, ["old"]],
    [{ until: ["1h"] }, ["new", "old"]],
    [{ label: ["keep"] }, ["new"]],
    [{ "label!": ["keep=yes"] }, ["old"]],
    [{ label: ["keep=no"] }, []],
  ])("filter %j takes %j", async (filters, expected) => {
    await using room = await openTestRoom();
    await load(room, testImage([[{ name: "old", data: "o" }]], { created: "2024-01-01T00:00:00Z" }), "old:1");
    const labels = { keep: "yes" };
    await load(room, testImage([[{ name: "new", data: "n" }]], { created: "2025-01-01T00:00:00Z", labels }), "new:1");
    const { deleted } = await room.images.prune(room.ctx, { all: true, filters });
    const untagged = deleted.flatMap((item) => ("untagged" in item ? [item.untagged.replace(/:.*/, "")] : []));
    expect(untagged.toSorted()).toEqual(expected);
  });

  test("a filter that is none is refused before anything is removed", async () => {
    await using room = await openTestRoom();
    await load(room, testImage([BASE]));
    await expect(room.images.prune(room.ctx, { all: true, filters: { color: ["red"] } })).rejects.toThrow(
      "invalid filter 'color=red'",
    );
    expect(room.images.list()).toHaveLength(1);
  });
});

describe("what a build stands on", () => {
  test("is neither pruned nor removed until the build has ended; its names may go", async () => {
    await using room = await openTestRoom();
    const record = await load(room, testImage([BASE]), "app:1");
    const prune = () => room.images.prune(room.ctx, { all: true, filters: {} });
    {
      using _kept = await room.images.keep(record.id);
      expect((await prune()).deleted).toEqual([]);
      await expect(room.images.remove(room.ctx, record.id, { force: true, noPrune: false })).rejects.toThrow(
        "image is being used by a running build",
      );
      await room.images.remove(room.ctx, "app:1", KEEP);
      expect((await prune()).deleted).toEqual([]);
      expect(room.images.resolve(record.id).tags).toEqual([]);
    }
    expect((await prune()).deleted).toContainEqual({ deleted: record.id });
  });
});
