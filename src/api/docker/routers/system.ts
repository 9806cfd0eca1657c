import type { Static } from "typebox";
import { DiskUsageQuery } from "../../../schema/docker/system.ts";
import { imageSummary, imageNameNow } from "../codecs/image-json.ts";
import { containerSummary } from "../codecs/list-container.ts";
import { sharedSizes } from "../codecs/shared-size.ts";
import { infoJson, versionJson } from "../codecs/system-json.ts";
import { volumeJson } from "../codecs/volume-json.ts";
import { apiErrors } from "../errors.ts";
import { type Call, ok, type Route, route, streamed } from "../route.ts";
import { imageIdsByTag } from "./containers.ts";
import { unlessGone } from "./unless-gone.ts";

export const systemRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/_ping",
    summary: "Say that the engine is there, and which versions it speaks",
    handle: (call) => ping(call, "OK"),
  }),
  route({
    method: "HEAD",
    path: "/_ping",
    summary: "Say that the engine is there, and which versions it speaks",
    handle: (call) => ping(call, ""),
  }),
  route({
    method: "GET",
    path: "/version",
    summary: "Versions of the engine and its parts",
    handle: ({ backend }) => ok(versionJson(backend.system.facts)),
  }),
  route({
    method: "GET",
    path: "/info",
    summary: "The engine and its machine",
    handle: async ({ backend, ctx, version }) => {
      const counts = { instances: backend.instances.list(), images: backend.images.list().length };
      return ok(infoJson(backend.system.facts, await backend.system.info(ctx), counts, version));
    },
  }),
  route({
    method: "GET",
    path: "/system/df",
    summary: "What takes up disk space",
    since: 25,
    query: DiskUsageQuery,
    handle: diskUsage,
  }),
];

/** Builder-Version 1 tells clients that the classic builder is the one to use. */
function ping({ reply }: Call, body: string) {
  reply
    .code(200)
    .headers({
      "Cache-Control": "no-cache, no-store, must-revalidate",
      Pragma: "no-cache",
      "Builder-Version": "1",
      Swarm: "inactive",
      "Content-Type": "text/plain; charset=utf-8",
    })
    .send(body);
  return streamed;
}

const objectTypes = ["container", "image", "volume", "build-cache"];

async function diskUsage(call: Call<Static<typeof DiskUsageQuery>>) {
  const { query, version } = call;
  for (const type of query.type) {
    if (!objectTypes.includes(type)) throw apiErrors.API_BAD_REQUEST({ message: `unknown object type: ${type}` });
  }
  const wants = (type: string) => query.type.length === 0 || !version.atLeast(42) || query.type.includes(type);
  return ok({
    ...(wants("image") ? await imageUsage(call) : {}),
    ...(wants("container") ? { Containers: await containerUsage(call) } : {}),
    ...(wants("volume") ? { Volumes: await volumeUsage(call) } : {}),
    ...(wants("build-cache") ? { BuildCache: await buildCacheUsage(call), BuilderSize: 0 } : {}),
  });
}

async function imageUsage({ backend, version }: Call) {
  const { layersSize } = await backend.images.diskUsage();
  const shared = sharedSizes(backend.images);
  const Images = backend.images.list().map((image) =>
    imageSummary(image, version, {
      containers: backend.instances.imageUsers(image.id).length,
      sharedSize: shared.get(image.id) ?? 0,
    }),
  );
  return { LayersSize: layersSize, Images };
}

async function containerUsage({ backend, ctx }: Call): Promise<readonly object[]> {
  const idByTag = imageIdsByTag(backend);
  const rows: object[] = [];
  for (const record of backend.instances.list()) {
    const sizes = await unlessGone(backend.instances.size(ctx, record.id));
    if (sizes === undefined) continue;
    rows.push(containerSummary(record, backend, imageNameNow(record.spec.image, record.imageId, idByTag), sizes));
  }
  return rows;
}

async function volumeUsage({ backend }: Call): Promise<readonly object[]> {
  const rows: object[] = [];
  for (const volume of backend.volumes.list()) {
    const Size = await unlessGone(backend.volumes.usage(volume.name));
    if (Size === undefined) continue;
    rows.push(volumeJson(volume, { Size, RefCount: backend.instances.volumeUsers(volume.name).length }));
  }
  return rows;
}

async function buildCacheUsage({ backend, ctx }: Call): Promise<readonly object[]> {
  const entries = await backend.system.buildCache(ctx);
  return entries.map((entry) => ({
    ID: entry.id,
    Parent: entry.parent,
    Type: "regular",
    Description: entry.description,
    InUse: entry.inUse,
    Shared: entry.shared,
    Size: entry.size,
    CreatedAt: entry.createdAt,
    LastUsedAt: entry.lastUsedAt === "" ? null : entry.lastUsedAt,
    UsageCount: entry.usageCount,
  }));
}
