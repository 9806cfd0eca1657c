import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { isBerthError } from "../../../src/base/errors.ts";
import { withTimeout } from "../../../src/base/op-context.ts";
import { noProgress } from "../../../src/base/progress.ts";
import { busyboxArchive } from "../../support/busybox-image.ts";
import { startCuttingProxy } from "../../support/cutting-proxy.ts";
import { type ImageEngine, openImageEngine, recordProgress } from "./image-engine.ts";
import { freePort, startRegistry } from "../../support/registry.ts";

async function loadSample(engine: ImageEngine, tag: string, files: Record<string, string> = {}) {
  const archive = await busyboxArchive({ tags: [tag], files: { "/etc/motd": "hello\n", ...files } });
  const [image] = await engine.images.load(engine.ctx, Readable.from([archive]), noProgress);
  if (image === undefined) throw new Error("nothing loaded");
  return image;
}

describe("a registry on loopback", () => {
  test.each([0, 1, 2, 3, 5, 8])(
    "an image that is removed %d ms after its push began is pushed whole, or is no more",
    async (ms) => {
      await using registry = await startRegistry();
      await using engine = await openImageEngine();
      const name = `${registry.host}/going:1`;
      await loadSample(engine, name);
      const pushing = engine.images.push(engine.ctx, { reference: name }, noProgress).then(
        () => "pushed",
        (error: unknown) => (isBerthError(error, "PUSH_NO_TAGS") ? "gone" : String(error)),
      );
      await sleep(ms);
      await engine.images.remove(engine.ctx, name, { force: true, noPrune: false });
      expect(["pushed", "gone"]).toContain(await pushing);
      expect(engine.images.list()).toEqual([]);
    },
  );

  test("what is pushed is pulled by another engine, read by skopeo, and not sent twice", async () => {
    await using registry = await startRegistry();
    await using one = await openImageEngine();
    const name = `${registry.host}/team/app:v1`;
    const image = await loadSample(one, name);
    const pushed = recordProgress();
    await one.images.push(one.ctx, { reference: name }, pushed.sink);
    expect(pushed.lines[0]).toBe(`The push refers to repository [${registry.host}/team/app]`);
    expect(pushed.lines).toContainEqual(expect.stringMatching(/^[0-9a-f]{12} Pushed$/));
    const digest = /^v1: digest: (sha256:[0-9a-f]{64}) size: \d+$/.exec(pushed.lines.at(-1) ?? "")?.[1];
    expect(digest).toBeDefined();

    const again = recordProgress();
    await one.images.push(one.ctx, { reference: name }, again.sink);
    expect(again.lines).toContainEqual(expect.stringMatching(/^[0-9a-f]{12} Layer already exists$/));

    const seen = JSON.parse(
      execFileSync("skopeo", ["inspect", "--tls-verify=false", `docker://${name}`], { encoding: "utf8" }),
    );
    expect(seen).toMatchObject({ Digest: digest, Architecture: image.config.architecture, Os: "linux" });

    await using two = await openImageEngine();
    const pull = recordProgress();
    const pulled = await two.images.pull(two.ctx, { reference: name }, pull.sink);
    expect(pulled).toMatchObject({
      id: image.id,
      size: image.size,
      tags: [name],
      repoDigests: [`${registry.host}/team/app@${digest}`],
    });
    const layer = pull.events.find(({ status }) => status === "Pulling fs layer")?.id;
    expect(pull.lines.filter((line) => !/Downloading|Extracting|Verifying/.test(line))).toEqual([
      "v1 Pulling from team/app",
      `${layer} Pulling fs layer`,
      `${layer} Download complete`,
      `${layer} Pull complete`,
      `Digest: ${digest}`,
      `Status: Downloaded newer image for ${name}`,
    ]);
    await using view = await two.snapshotter.view(two.ctx, await two.images.unpack(two.ctx, pulled));
    expect(await readdir(view.root)).toContain("bin");

    const third = recordProgress();
    await two.images.pull(two.ctx, { reference: name }, third.sink);
    expect(third.lines.at(-1)).toBe(`Status: Image is up to date for ${name}`);
    expect(await two.partials()).toEqual([]);
    expect(two.events.map(({ action, actorId }) => `${action} ${actorId}`)).toEqual([`pull ${name}`, `pull ${name}`]);

    const byDigest = await two.images.pull(two.ctx, { reference: `${registry.host}/team/app@${digest}` }, noProgress);
    expect(byDigest.id).toBe(image.id);
    expect(two.images.resolve(`${registry.host}/team/app@${digest}`).id).toBe(image.id);
  });

  test("a layer is taken over from another repository of the registry", async () => {
    await using registry = await startRegistry();
    await using engine = await openImageEngine();
    const name = `${registry.host}/one:v1`;
    await loadSample(engine, name);
    await engine.images.push(engine.ctx, { reference: name }, noProgress);
    await engine.images.tag(engine.ctx, name, `${registry.host}/two:v1`);
    const progress = recordProgress();
    await engine.images.push(engine.ctx, { reference: `${registry.host}/two:v1` }, progress.sink);
    expect(progress.lines).toContainEqual(expect.stringMatching(/ Mounted from one$/));
  });

  test("a connection that is cut again and again is gone on with, by ranges", async () => {
    await using registry = await startRegistry();
    await using proxy = await startCuttingProxy(registry.port);
    await using one = await openImageEngine();
    // Random bytes don't compress: the layer stays large enough to be cut.
    const noise = randomBytes(3 << 20).toString("base64");
    await loadSample(one, `${registry.host}/big:1`, { "/noise": noise });
    await one.images.push(one.ctx, { reference: `${registry.host}/big:1` }, noProgress);

    await using two = await openImageEngine();
    proxy.limit = 700_000;
    const image = await two.images.pull(two.ctx, { reference: `${proxy.host}/big:1` }, noProgress);
    expect(proxy.cuts).toBeGreaterThan(3);
    const layerBytes = image.layers.reduce((sum, { blob }) => sum + blob.size, 0);
    // Nothing was fetched twice, but for what was on its way when the line was cut.
    expect(proxy.bytes).toBeLessThan(layerBytes * 1.6);
    expect(await two.partials()).toEqual([]);
  });

  test("an upload that is cut again and again is gone on with, in pieces", async () => {
    await using registry = await startRegistry();
    await using proxy = await startCuttingProxy(registry.port);
    await using one = await openImageEngine({ uploadChunkBytes: 600_000 });
    const image = await loadSample(one, `${proxy.host}/big:1`, { "/noise": randomBytes(3 << 20).toString("base64") });
    proxy.requestLimit = 900_000;
    proxy.remainingCuts = 4;
    const progress = recordProgress();
    await one.images.push(one.ctx, { reference: `${proxy.host}/big:1` }, progress.sink);
    expect(proxy.cuts).toBe(4);
    await one.images.remove(one.ctx, image.id, { force: true, noPrune: false });
    const pulled = await one.images.pull(one.ctx, { reference: `${registry.host}/big:1` }, noProgress);
    expect(pulled.id).toBe(image.id);
  });

  test("a pull that failed half way is gone on with by the next one, also after a restart", async () => {
    await using registry = await startRegistry();
    await using proxy = await startCuttingProxy(registry.port);
    await using one = await openImageEngine();
    const noise = randomBytes(3 << 20).toString("base64");
    await loadSample(one, `${registry.host}/big:1`, { "/noise": noise });
    await one.images.push(one.ctx, { reference: `${registry.host}/big:1` }, noProgress);

    await using outer = await openImageEngine();
    const root = `${outer.root}/again`;
    {
      await using two = await openImageEngine({ root, retry: { ...quickNoRetry } });
      proxy.limit = 1_500_000;
      await expect(two.images.pull(two.ctx, { reference: `${proxy.host}/big:1` }, noProgress)).rejects.toMatchObject({
        code: "REGISTRY_UNREACHABLE",
      });
      expect(two.images.list()).toEqual([]);
      expect(await two.partials()).toHaveLength(1);
      expect(await two.snapshotter.layers()).toEqual([]);
    }
    proxy.limit = undefined;
    const before = proxy.bytes;
    await using three = await openImageEngine({ root });
    const progress = recordProgress();
    const image = await three.images.pull(three.ctx, { reference: `${proxy.host}/big:1` }, progress.sink);
    const layerBytes = image.layers.reduce((sum, { blob }) => sum + blob.size, 0);
    expect(proxy.bytes - before).toBeLessThan(layerBytes - 1_000_000);
    const first = progress.events.find(({ status }) => status === "Downloading");
    expect(first?.current).toBeGreaterThan(1_000_000);
    expect(await three.partials()).toEqual([]);
  });

  test("several clients pulling the same image share the work", async () => {
    await using registry = await startRegistry();
    await using proxy = await startCuttingProxy(registry.port);
    await using one = await openImageEngine();
    await loadSample(one, `${registry.host}/big:1`, { "/noise": randomBytes(2 << 20).toString("base64") });
    await one.images.push(one.ctx, { reference: `${registry.host}/big:1` }, noProgress);
    await using two = await openImageEngine();
    const reference = `${proxy.host}/big:1`;
    const pulls = [1, 2, 3].map(() => two.images.pull(two.ctx, { reference }, noProgress));
    const images = await Promise.all(pulls);
    expect(new Set(images.map(({ id }) => id)).size).toBe(1);
    const layerBytes = images[0]?.layers.reduce((sum, { blob }) => sum + blob.size, 0) ?? 0;
    expect(proxy.bytes).toBeLessThan(layerBytes * 1.3);
  });

  test("a dead registry: refused, and silent, each with a clear error in bounded time", async () => {
    await using engine = await openImageEngine({ timeouts: { connectMs: 300, idleMs: 300 } });
    const port = await freePort();
    await expect(
      engine.images.pull(engine.ctx, { reference: `127.0.0.1:${port}/x:1` }, noProgress),
    ).rejects.toMatchObject({
      code: "REGISTRY_UNREACHABLE",
      message: `cannot reach registry 127.0.0.1:${port}: connection refused (tried 4 times)`,
    });
    await using registry = await startRegistry();
    await using silent = await startCuttingProxy(registry.port);
    silent.limit = 0;
    await expect(engine.images.pull(engine.ctx, { reference: `${silent.host}/x:1` }, noProgress)).rejects.toMatchObject(
      {
        code: "REGISTRY_UNREACHABLE",
      },
    );
    expect(engine.images.list()).toEqual([]);
    expect(await engine.partials()).toEqual([]);
  });

  test("what is not there is said in Docker's words", async () => {
    await using registry = await startRegistry();
    await using engine = await openImageEngine();
    await expect(
      engine.images.pull(engine.ctx, { reference: `${registry.host}/nothing:1` }, noProgress),
    ).rejects.toThrow(`manifest for ${registry.host}/nothing:1 not found: manifest unknown: manifest unknown`);
    await expect(
      engine.images.push(engine.ctx, { reference: `${registry.host}/nothing:1` }, noProgress),
    ).rejects.toThrow(`An image does not exist locally with the tag: ${registry.host}/nothing`);
  });

  test("a pull that is given up leaves nothing but its partial file", async () => {
    await using registry = await startRegistry();
    await using one = await openImageEngine();
    await loadSample(one, `${registry.host}/big:1`, { "/noise": randomBytes(2 << 20).toString("base64") });
    await one.images.push(one.ctx, { reference: `${registry.host}/big:1` }, noProgress);
    await using proxy = await startCuttingProxy(registry.port);
    proxy.limit = 1_000_000;
    await using two = await openImageEngine({ retry: { ...quickNoRetry, attempts: 1_000_000 } });
    proxy.limit = 0;
    await expect(
      two.images.pull(withTimeout(two.ctx, 400), { reference: `${proxy.host}/big:1` }, noProgress),
    ).rejects.toThrow(/timeout/i);
    expect(two.images.list()).toEqual([]);
    expect(await two.snapshotter.layers()).toEqual([]);
  });
});

const quickNoRetry = { attempts: 1, backoff: { initialMs: 1, maxMs: 1, factor: 1 }, maxRetryAfterMs: 1 };
