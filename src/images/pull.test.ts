import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sha256 } from "./chain-id.ts";
import { answer, cut, ScriptedRegistry } from "./fake/scripted-registry.ts";
import { openTestRoom, testImage, type TestRoom } from "./fake/test-images.ts";
import { MediaType } from "./media-types.ts";

const IMAGE = testImage([[{ name: "etc/base", data: "base" }], [{ name: "etc/top", data: "top" }]]);
const LAYER = IMAGE.layers[0]?.digest ?? "";
const LAYER_BYTES = IMAGE.layers[0]?.bytes ?? Buffer.alloc(0);

let registry: ScriptedRegistry;
let room: TestRoom;
let reference = "";
beforeEach(async () => {
  registry = await ScriptedRegistry.start();
  room = await openTestRoom({ timeouts: { connectMs: 500, idleMs: 500 } });
  reference = `${registry.host}/app:1`;
  registry.addImage(IMAGE, "1");
});
afterEach(async () => {
  await room[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

const pull = (more: object = {}) => room.images.pull(room.ctx, { reference, ...more }, room.progress);
const index = (...manifests: readonly object[]) =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }));
const entryOf = (image: typeof IMAGE, platform?: object) => ({
  mediaType: MediaType.ociManifest,
  digest: image.manifestDigest,
  size: image.manifestBytes.length,
  platform,
});

async function expectNothingKept(): Promise<void> {
  expect(room.images.list()).toEqual([]);
  expect(await room.snapshotter.layers()).toEqual([]);
}

describe("a bad line", () => {
  test("server errors and rate limits are tried again", async () => {
    registry.override(`HEAD /v2/app/manifests/1`, answer(503), answer(429, { "Retry-After": "0" }));
    registry.override(`GET /v2/app/blobs/${LAYER}`, answer(500), answer(502));
    expect((await pull()).id).toBe(IMAGE.id);
  });

  test("but not for ever", async () => {
    const limited = answer(429, {}, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}');
    registry.override(`HEAD /v2/app/manifests/1`, limited, limited, limited);
    await expect(pull()).rejects.toMatchObject({ status: 429, code: "REGISTRY_TOO_MANY_REQUESTS" });
    registry.override(`HEAD /v2/app/manifests/1`, answer(503), answer(503), answer(503));
    await expect(pull()).rejects.toThrow(
      `Head "http://${registry.host}/v2/app/manifests/1": unexpected status from the registry: 503`,
    );
  });

  test("a registry without ranges sends all again, and what we have is skipped", async () => {
    registry.override(
      `GET /v2/app/blobs/${LAYER}`,
      cut(LAYER_BYTES.subarray(0, 20), LAYER_BYTES.length),
      answer(200, {}, LAYER_BYTES),
    );
    expect((await pull()).id).toBe(IMAGE.id);
  });

  test("a registry that never says a word is given up sooner than one in the middle of its work", async () => {
    await using patient = await openTestRoom({ timeouts: { connectMs: 50, idleMs: 600_000 } });
    const silent = () => {};
    registry.override("GET /v2/", silent, silent, silent);
    await expect(patient.images.pull(patient.ctx, { reference }, patient.progress)).rejects.toThrow(
      `cannot reach registry ${registry.host}: ${registry.host} sent nothing for 0.05 s (tried 2 times)`,
    );
  });

  test("a registry that falls silent is given up in time", async () => {
    const silent = () => {};
    registry.override(`GET /v2/app/blobs/${LAYER}`, silent, silent, silent);
    await expect(pull()).rejects.toMatchObject({ code: "REGISTRY_UNREACHABLE" });
    await expectNothingKept();
  });
});

describe("wrong content", () => {
  test("a blob with other bytes", async () => {
    const other = Buffer.alloc(LAYER_BYTES.length, 1);
    registry.override(`GET /v2/app/blobs/${LAYER}`, answer(200, {}, other));
    await expect(pull()).rejects.toMatchObject({ code: "REGISTRY_DIGEST_MISMATCH" });
    await expectNothingKept();
    expect(await room.content.has(LAYER)).toBe(false);
    // What was kept of it does not stand in the way of the right one.
    expect((await pull()).id).toBe(IMAGE.id);
  });

  test.each([
    ["more bytes than promised", Buffer.concat([LAYER_BYTES, Buffer.from("more")])],
    ["fewer", LAYER_BYTES.subarray(0, -1)],
  ])("a blob with %s", async (_name, bytes) => {
    const bad = answer(200, {}, bytes);
    // A request for the missing byte is answered with nothing.
    registry.override(`GET /v2/app/blobs/${LAYER}`, bad, answer(206, {}, ""), bad);
    await expect(pull()).rejects.toMatchObject({ code: "REGISTRY_DIGEST_MISMATCH" });
    await expectNothingKept();
  });

  test("a manifest that is not what its digest says", async () => {
    registry.override(
      `GET /v2/app/manifests/${IMAGE.manifestDigest}`,
      answer(200, { "Content-Type": MediaType.ociManifest }, "{}"),
    );
    await expect(pull()).rejects.toMatchObject({ code: "REGISTRY_DIGEST_MISMATCH" });
  });

  test("a layer that unpacks to something else than its configuration says", async () => {
    const wrong = testImage([[{ name: "a", data: "a" }]]);
    const config = Buffer.from(
      JSON.stringify({ ...wrong.config, rootfs: { type: "layers", diff_ids: [`sha256:${"0".repeat(64)}`] } }),
    );
    const manifest = JSON.parse(wrong.manifestBytes.toString());
    manifest.config = { ...manifest.config, digest: sha256(config), size: config.length };
    registry.addImage(wrong);
    registry.addBlob(config);
    registry.addManifest(Buffer.from(JSON.stringify(manifest)), MediaType.ociManifest, "1");
    await expect(pull()).rejects.toMatchObject({ code: "LAYER_DIGEST_MISMATCH" });
    await expectNothingKept();
  });

  test.each([
    [
      "a schema 1 manifest",
      { schemaVersion: 1, name: "app", fsLayers: [] },
      /unsupported manifest media type .*v1\+json/,
    ],
    ["no JSON", "<html>", /invalid manifest of/],
    [
      "a manifest without a configuration",
      { schemaVersion: 2, mediaType: MediaType.ociManifest, layers: [] },
      /invalid manifest/,
    ],
    [
      "a chart",
      {
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        config: { mediaType: "application/vnd.cncf.helm.config.v1+json", digest: IMAGE.id, size: 1 },
        layers: [],
      },
      /is not a container image: its configuration is of type application\/vnd.cncf.helm/,
    ],
  ])("%s is refused", async (_name, document, message) => {
    const bytes = Buffer.from(typeof document === "string" ? document : JSON.stringify(document));
    registry.addManifest(bytes, "application/json", "1");
    await expect(pull()).rejects.toThrow(message);
    await expectNothingKept();
  });
});

describe("several platforms", () => {
  test("the host's is taken, and the list's digest is remembered", async () => {
    const arm = testImage([[{ name: "arm", data: "arm" }]], { platform: { os: "linux", architecture: "arm64" } });
    registry.addImage(arm);
    const list = index(
      entryOf(arm, { os: "linux", architecture: "arm64", variant: "v8" }),
      entryOf(IMAGE, { os: "linux", architecture: "amd64" }),
    );
    registry.addManifest(list, MediaType.ociIndex, "1");
    const image = await pull();
    expect(image).toMatchObject({ id: IMAGE.id, repoDigests: [`${registry.host}/app@${sha256(list)}`] });
    expect(image.manifest.digest).toBe(IMAGE.manifestDigest);

    const other = await pull({ platform: { os: "linux", architecture: "arm64" } });
    expect(other.id).toBe(arm.id);
    expect(room.images.resolve(reference).id).toBe(arm.id);
    await expect(pull({ platform: { os: "linux", architecture: "s390x" } })).rejects.toMatchObject({
      message: "no matching manifest for linux/s390x in the manifest list entries",
      hint: "the list has: linux/arm64, linux/amd64",
    });
  });

  test("a single manifest of another platform is refused only when one was asked for", async () => {
    expect((await pull()).id).toBe(IMAGE.id);
    await expect(pull({ platform: { os: "linux", architecture: "arm64" } })).rejects.toMatchObject({
      code: "IMAGE_PLATFORM_MISMATCH",
    });
  });

  test("lists in lists are followed, but not for ever", async () => {
    let inner = index(entryOf(IMAGE, { os: "linux", architecture: "amd64" }));
    registry.addManifest(inner, MediaType.ociIndex);
    const outer = index({ mediaType: MediaType.ociIndex, digest: sha256(inner), size: inner.length });
    registry.addManifest(outer, MediaType.ociIndex, "1");
    expect((await pull()).id).toBe(IMAGE.id);
    for (let depth = 0; depth < 8; depth++) {
      inner = index({ mediaType: MediaType.ociIndex, digest: sha256(inner), size: inner.length });
      registry.addManifest(inner, MediaType.ociIndex, "1");
    }
    await expect(pull()).rejects.toThrow(/nested too deep/);
  });
});

describe("credentials", () => {
  const auth = { username: "u", password: "p" };
  const basic = `Basic ${Buffer.from("u:p").toString("base64")}`;
  const challenge = answer(401, { "WWW-Authenticate": 'Basic realm="r"' });

  test("go to the registry, not to where it redirects a blob", async () => {
    await using storage = await ScriptedRegistry.start();
    storage.addImage(IMAGE);
    registry.override("GET /v2/", challenge);
    const location = `http://${storage.host}/v2/app/blobs/${LAYER}`;
    registry.override(`GET /v2/app/blobs/${LAYER}`, answer(307, { Location: location }));
    await pull({ auth });
    expect(
      registry.requests.filter((request) => request.includes("/blobs/")).every((request) => request.endsWith(basic)),
    ).toBe(true);
    expect(storage.requests).toEqual([`GET /v2/app/blobs/${LAYER}`]);
  });

  test("are not sent to a registry that does not ask", async () => {
    await pull({ auth });
    expect(registry.requests.some((request) => request.includes(" as "))).toBe(false);
  });

  test("a redirect without end is refused", async () => {
    const path = `/v2/app/blobs/${LAYER}`;
    registry.override(`GET ${path}`, ...Array.from({ length: 20 }, () => answer(302, { Location: path })));
    await expect(pull()).rejects.toThrow(/redirects more than/);
  });

  test("a refusal is Docker's own message", async () => {
    const denied = answer(
      403,
      {},
      '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
    );
    registry.override("HEAD /v2/app/manifests/1", denied);
    await expect(pull()).rejects.toMatchObject({ code: "PULL_ACCESS_DENIED", status: 404 });
  });
});

describe("questions that store nothing", () => {
  test("what a reference names: one image, or a list", async () => {
    expect(await room.images.registry.inspect(room.ctx, reference)).toEqual({
      descriptor: { mediaType: MediaType.ociManifest, digest: IMAGE.manifestDigest, size: IMAGE.manifestBytes.length },
      platforms: [{ os: "linux", architecture: "amd64" }],
    });
    const platform = { os: "linux", architecture: "arm64", variant: "v8" };
    registry.addManifest(index(entryOf(IMAGE, platform)), MediaType.ociIndex, "1");
    expect((await room.images.registry.inspect(room.ctx, reference)).platforms).toEqual([platform]);
    expect(await room.blobs()).toEqual([]);
  });

  test("whether credentials are right", async () => {
    const challenge = answer(401, { "WWW-Authenticate": 'Basic realm="r"' });
    const auth = { username: "u", password: "p", serverAddress: registry.host };
    registry.override("GET /v2/", challenge);
    expect(await room.images.registry.login(room.ctx, auth)).toEqual({});
    registry.override("GET /v2/", challenge, challenge, challenge);
    await expect(room.images.registry.login(room.ctx, auth)).rejects.toMatchObject({
      status: 401,
      code: "LOGIN_REFUSED",
    });
  });

  test("whether a token server takes them, and the token that it gives for the password", async () => {
    const challenge = answer(401, { "WWW-Authenticate": `Bearer realm="http://${registry.host}/token",service="s"` });
    const auth = { username: "u", password: "p", serverAddress: `http://${registry.host}/v1/` };
    const token = "GET /token?service=s&offline_token=true&client_id=berth&account=u";
    registry.override("GET /v2/", challenge);
    registry.override(token, answer(200, {}, '{"token":"t","refresh_token":"r"}'));
    expect(await room.images.registry.login(room.ctx, auth)).toEqual({ identityToken: "r" });
    expect(registry.requests).toEqual(["GET /v2/", `${token} as Basic dTpw`, "GET /v2/ as Bearer t"]);

    registry.override("GET /v2/", challenge);
    registry.override(token, answer(401, {}, '{"details":"incorrect username or password"}'));
    await expect(room.images.registry.login(room.ctx, auth)).rejects.toMatchObject({
      status: 401,
      message: expect.stringContaining("unauthorized: incorrect username or password"),
    });
  });
});

test("an image that is here under another name is only named", async () => {
  await pull();
  registry.addManifest(IMAGE.manifestBytes, MediaType.ociManifest, "2");
  const before = registry.requests.length;
  await room.images.pull(room.ctx, { reference: `${registry.host}/app:2` }, room.progress);
  expect(registry.requests.slice(before)).toEqual(["GET /v2/", "HEAD /v2/app/manifests/2"]);
  expect(room.lines.at(-1)).toBe(`Status: Downloaded newer image for ${registry.host}/app:2`);
  expect(room.images.resolve(IMAGE.id).tags).toHaveLength(2);
});

test("every tag of a repository", async () => {
  registry.addManifest(IMAGE.manifestBytes, MediaType.ociManifest, "2");
  const page = answer(200, { Link: '</v2/app/tags/list?last=1>; rel="next"' }, '{"name":"app","tags":["1"]}');
  registry.override("GET /v2/app/tags/list", page);
  registry.override("GET /v2/app/tags/list?last=1", answer(200, {}, '{"name":"app","tags":["2"]}'));
  await room.images.pull(room.ctx, { reference: `${registry.host}/app`, allTags: true }, room.progress);
  expect(room.images.list()[0]?.tags).toEqual([`${registry.host}/app:1`, `${registry.host}/app:2`]);
});
