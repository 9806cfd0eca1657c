import { execFileSync } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdtemp, readdir, rm, stat, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { expect, test } from "vitest";
import { noProgress } from "../../../src/base/progress.ts";
import { busyboxArchive } from "../../support/busybox-image.ts";
import { type ImageEngine, openImageEngine, recordProgress } from "./image-engine.ts";
import { startRegistry } from "../../support/registry.ts";

const skopeo = (...argv: readonly string[]) => execFileSync("skopeo", argv, { encoding: "utf8" });

async function importSample(engine: ImageEngine, reference: string) {
  const tree = await mkdtemp(join(tmpdir(), "berth-tree-"));
  try {
    execFileSync("cp", ["/bin/busybox", tree]);
    const tar = execFileSync("tar", ["-C", tree, "-c", "."], { maxBuffer: 1 << 26 });
    return await engine.images.import(engine.ctx, { tar: Readable.from([tar]), reference, changes: [] }, noProgress);
  } finally {
    await rm(tree, { recursive: true });
  }
}

test("skopeo reads what is saved, as docker-archive and as OCI layout, with zstd layers too", async () => {
  await using engine = await openImageEngine();
  const directory = await mkdtemp(join(tmpdir(), "berth-save-"));
  try {
    const loaded = await busyboxArchive({ tags: ["sample:1"] });
    const [plain] = await engine.images.load(engine.ctx, Readable.from([loaded]), noProgress);
    const zstd = await importSample(engine, "sample:2");
    for (const [image, tag] of [
      [plain, "sample:1"],
      [zstd, "sample:2"],
    ] as const) {
      const path = join(directory, `${tag.replace(":", "-")}.tar`);
      await pipeline(await engine.images.save(engine.ctx, [tag]), createWriteStream(path));
      for (const transport of ["docker-archive", "oci-archive"]) {
        const seen = JSON.parse(skopeo("inspect", `${transport}:${path}`));
        expect(seen).toMatchObject({ Architecture: image?.config.architecture, Os: "linux" });
        // A copy reads and verifies every byte.
        skopeo("--insecure-policy", "copy", "-q", `${transport}:${path}`, `dir:${directory}/${transport}-${tag}`);
      }
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("archives of skopeo's making are loaded: OCI with a full name, docker-archive", async () => {
  await using one = await openImageEngine();
  await using two = await openImageEngine();
  const directory = await mkdtemp(join(tmpdir(), "berth-skopeo-"));
  try {
    const image = await importSample(one, "sample:1");
    const path = join(directory, "one.tar");
    await pipeline(await one.images.save(one.ctx, ["sample:1"]), createWriteStream(path));
    for (const target of ["oci-archive", "docker-archive"]) {
      const copy = join(directory, `${target}.tar`);
      skopeo("--insecure-policy", "copy", "-q", `docker-archive:${path}`, `${target}:${copy}:made/by:${target}`);
      const archive = execFileSync("cat", [copy], { maxBuffer: 1 << 27 });
      const [loaded] = await two.images.load(two.ctx, Readable.from([archive]), noProgress);
      expect(loaded?.tags).toContain(`docker.io/made/by:${target}`);
      expect(loaded?.layers.map(({ diffId }) => diffId)).toEqual(image.layers.map(({ diffId }) => diffId));
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("a layer of ours is pushed as gzip, which is made once and goes with its image", async () => {
  await using registry = await startRegistry();
  await using engine = await openImageEngine();
  const reference = `${registry.host}/made/here:1`;
  const image = await importSample(engine, reference);
  expect(image.layers[0]?.blob.mediaType).toMatch(/tar\+zstd$/);
  const before = (await engine.blobs()).length;
  await engine.images.push(engine.ctx, { reference }, noProgress);
  expect(await engine.blobs()).toHaveLength(before + 1);
  const raw = JSON.parse(skopeo("inspect", "--raw", "--tls-verify=false", `docker://${reference}`));
  expect(raw.layers).toMatchObject([{ mediaType: "application/vnd.oci.image.layer.v1.tar+gzip" }]);

  await engine.images.tag(engine.ctx, reference, `${registry.host}/made/there:1`);
  await engine.images.push(engine.ctx, { reference: `${registry.host}/made/there:1` }, noProgress);
  expect(await engine.blobs()).toHaveLength(before + 1);

  await engine.images.remove(engine.ctx, image.id, { force: true, noPrune: false });
  expect(await engine.blobs()).toEqual([]);
  expect((await engine.images.pull(engine.ctx, { reference }, noProgress)).id).toBe(image.id);
});

test("start-up takes away layers without an image at once, and blobs and partial files when they are stale", async () => {
  await using outer = await openImageEngine();
  const root = join(outer.root, "killed");
  {
    await using engine = await openImageEngine({ root });
    const image = await importSample(engine, "sample:1");
    await engine.content.put(engine.ctx, Buffer.from("a blob that a killed pull had fetched"));
    await using partial = await engine.content.writer(engine.ctx, "pull-sha256:x");
    await partial.write(Buffer.from("half"));
    // The layers as a pull leaves them that is killed before it writes its record.
    await engine.snapshotter.applyLayer(engine.ctx, {
      parent: image.layers[0]?.diffId ?? "",
      diffId: image.layers[0]?.diffId ?? "",
      blob: { path: await engine.content.path(image.layers[0]?.blob.digest ?? ""), compression: "zstd" },
    });
    expect(await engine.snapshotter.layers()).toHaveLength(2);
  }
  {
    await using engine = await openImageEngine({ root });
    expect(await engine.snapshotter.layers()).toHaveLength(1);
    expect(await engine.blobs()).toHaveLength(4);
    expect(await engine.partials()).toHaveLength(1);
    const dayBefore = new Date(Date.now() - 25 * 3_600_000);
    for (const directory of ["content/blobs/sha256", "content/ingest"]) {
      for (const name of await readdir(join(root, directory)))
        await utimes(join(root, directory, name), dayBefore, dayBefore);
    }
  }
  await using engine = await openImageEngine({ root });
  expect(await engine.partials()).toEqual([]);
  expect(await engine.blobs()).toHaveLength(3);
  const progress = recordProgress();
  await engine.images.remove(engine.ctx, "sample:1", { force: false, noPrune: false });
  expect(await engine.blobs()).toEqual([]);
  expect(progress.lines).toEqual([]);
  expect((await stat(join(root, "content"))).isDirectory()).toBe(true);
});
