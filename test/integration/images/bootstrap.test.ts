import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { withTimeout } from "../../../src/base/op-context.ts";
import { openImageEngine, recordProgress } from "./image-engine.ts";
import { freePort } from "../../support/registry.ts";

test("a base image from the host's mirror, under another name", { timeout: 600_000 }, async () => {
  await using engine = await openImageEngine();
  const progress = recordProgress();
  const request = { reference: "debian:bookworm", as: "stand-in:1" };
  const image = await engine.images.bootstrap(engine.ctx, request, progress.sink);
  expect(image.tags).toEqual(["docker.io/library/stand-in:1"]);
  expect(image.layers).toHaveLength(1);
  expect(image.size).toBeGreaterThan(50 << 20);
  expect(image.size).toBeLessThan(200 << 20);
  expect(progress.lines[0]).toMatch(/^Bootstrapping debian:bookworm from /);
  await using view = await engine.snapshotter.view(engine.ctx, await engine.images.unpack(engine.ctx, image));
  expect(await readFile(join(view.root, "etc/os-release"), "utf8")).toContain("bookworm");
  expect(await readFile(join(view.root, "usr/sbin/policy-rc.d"), "utf8")).toContain("exit 101");
  expect(await readdir(join(view.root, "dev"))).toEqual([]);
  const sources = await readdir(join(view.root, "etc/apt/sources.list.d"));
  expect(await readFile(join(view.root, "etc/apt/sources.list.d", sources[0] ?? ""), "utf8")).toMatch(
    /^deb .* bookworm /m,
  );
  expect(await readdir(join(view.root, "var/cache/apt"))).toEqual(["archives"]);
  expect(await readdir(join(engine.root, "work"))).toEqual([]);
});

test("a dead mirror, and giving up: a clear error, nothing left", async () => {
  await using engine = await openImageEngine();
  const mirror = `http://127.0.0.1:${await freePort()}/debian`;
  await expect(
    engine.images.bootstrap(engine.ctx, { reference: "debian:bookworm", mirror }, () => {}),
  ).rejects.toMatchObject({ code: "BOOTSTRAP_FAILED" });
  const early = withTimeout(engine.ctx, 3_000);
  await expect(engine.images.bootstrap(early, { reference: "debian:bookworm" }, () => {})).rejects.toThrow();
  expect(await readdir(join(engine.root, "work"))).toEqual([]);
  expect(engine.images.list()).toEqual([]);
  expect(await engine.blobs()).toEqual([]);
});
