/**
 * `GET /system/df`: bytes on the disk, as du(1) counts them, each thing once. Beside the members that Docker has had since 1.25 stand
 * the sums that it has since 1.52 (`ImageUsage`, …), of which "Reclaimable" is what a prune would give back.
 */
import type { Static } from "typebox";
import { shortId } from "../../../base/ids.ts";
import type { CacheDirectoryUsage } from "../../../build/mounts/cache-directories.ts";
import { cacheTypes } from "../../../build/cache-types.ts";
import { DiskUsageQuery } from "../../../schema/docker/system.ts";
import type { MachineTemplate } from "../backend.ts";
import { imageNameNow, imageSummary } from "../codecs/image-json.ts";
import { containerSummary } from "../codecs/list-container.ts";
import { volumeJson } from "../codecs/volume-json.ts";
import { apiErrors } from "../errors.ts";
import { type Call, ok, type Route, route } from "../route.ts";
import { imageIdsByTag } from "./containers.ts";

export const diskUsageRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/system/df",
    summary: "What takes up disk space",
    since: 25,
    query: DiskUsageQuery,
    handle: diskUsage,
  }),
];

const objectTypes = ["container", "image", "volume", "build-cache"];

async function diskUsage(call: Call<Static<typeof DiskUsageQuery>>) {
  const { query, version } = call;
  for (const type of query.type) {
    if (!objectTypes.includes(type)) throw apiErrors.API_BAD_REQUEST({ message: `unknown object type: ${type}` });
  }
  const wants = (type: string) => query.type.length === 0 || !version.atLeast(42) || query.type.includes(type);
  return ok({
    ...(wants("image") || wants("build-cache") ? await imageUsage(call, wants) : {}),
    ...(wants("container") ? await containerUsage(call) : {}),
    ...(wants("volume") ? await volumeUsage(call) : {}),
  });
}

async function imageUsage({ backend, ctx, version }: Call, wants: (type: string) => boolean): Promise<object> {
  const usage = await backend.images.diskUsage(ctx);
  const Images = backend.images.list().map((image) => {
    const { size = image.size, shared = 0 } = usage.images.get(image.id) ?? {};
    const containers = backend.instances.imageUsers(image.id).length;
    return { ...imageSummary(image, version, { containers, sharedSize: shared }), Size: size };
  });
  const all = new Map(backend.images.list({ intermediate: true }).map((image) => [image.id, image]));
  const templates = backend.system.machineTemplates.list();
  const steps = usage.cache.map(({ imageId, size, shared, inUse }) => {
    const image = all.get(imageId);
    const CreatedAt = image?.config.created ?? null;
    return {
      ID: imageId.replace(/^sha256:/, ""),
      Parent: image?.parentId?.replace(/^sha256:/, "") ?? "",
      Type: cacheTypes.step,
      Description: image?.config.history?.at(-1)?.created_by ?? "",
      InUse: inUse,
      Shared: shared,
      Size: size,
      CreatedAt,
      LastUsedAt: null,
      UsageCount: 0,
    };
  });
  const directories = await backend.builder.cacheDirectories(ctx);
  const BuildCache = [...steps, ...directories.map(directoryUsage), ...templates.map(templateUsage)];
  const templateBytes = sum(templates.map(({ bytes }) => bytes));
  const besideSteps = templateBytes + sum(directories.map(({ bytes }) => bytes));
  const idle = templateBytes + sum(directories.filter(({ inUse }) => !inUse).map(({ bytes }) => bytes));
  return {
    ...(wants("image")
      ? {
          LayersSize: usage.imagesSize,
          Images,
          ImageUsage: {
            TotalCount: Images.length,
            ActiveCount: backend.images.list().filter(({ id }) => backend.instances.imageUsers(id).length > 0).length,
            TotalSize: usage.imagesSize,
            Reclaimable: usage.imagesReclaimable,
          },
        }
      : {}),
    ...(wants("build-cache")
      ? {
          BuildCache,
          BuilderSize: usage.cacheSize + besideSteps,
          BuildCacheUsage: {
            TotalCount: BuildCache.length,
            ActiveCount: BuildCache.filter(({ InUse }) => InUse).length,
            TotalSize: usage.cacheSize + besideSteps,
            Reclaimable: usage.cacheReclaimable + idle,
          },
        }
      : {}),
  };
}

/** Of a `RUN --mount=type=cache`. */
function directoryUsage({ id, description, bytes, inUse, createdAt, lastUsedAt, uses }: CacheDirectoryUsage) {
  return {
    ID: id,
    Parent: "",
    Type: cacheTypes.directory,
    Description: description,
    InUse: inUse,
    Shared: false,
    Size: bytes,
    CreatedAt: createdAt,
    LastUsedAt: lastUsedAt,
    UsageCount: uses,
  };
}

/** A cache beside the builder's, which the same prune clears. */
function templateUsage({ key, image, bytes, usedMs }: MachineTemplate) {
  const used = new Date(usedMs).toISOString();
  return {
    ID: key,
    Parent: "",
    Type: "berth.machine-template",
    Description: `template of virtual machines on layer ${shortId(image)}`,
    InUse: false,
    Shared: false,
    Size: bytes,
    CreatedAt: used,
    LastUsedAt: used,
    UsageCount: 0,
  };
}

async function containerUsage({ backend, ctx }: Call): Promise<object> {
  const idByTag = imageIdsByTag(backend);
  const sizes = await backend.instances.diskUsage(ctx);
  const imageSizes = new Map(backend.images.list({ intermediate: true }).map(({ id, size }) => [id, size]));
  const rows = backend.instances.list().map((record) => {
    const rw = sizes.get(record.id) ?? 0;
    const { status } = record.state;
    const active = status === "running" || status === "paused" || status === "restarting";
    const size = { rw, rootFs: rw + (imageSizes.get(record.imageId) ?? 0) };
    const name = imageNameNow(record.spec.image, record.imageId, idByTag);
    return { active, rw, summary: containerSummary(record, backend, name, size) };
  });
  return {
    Containers: rows.map(({ summary }) => summary),
    ContainerUsage: {
      TotalCount: rows.length,
      ActiveCount: rows.filter(({ active }) => active).length,
      TotalSize: sum(rows.map(({ rw }) => rw)),
      Reclaimable: sum(rows.filter(({ active }) => !active).map(({ rw }) => rw)),
    },
  };
}

async function volumeUsage({ backend, ctx }: Call): Promise<object> {
  const volumes = backend.volumes.list();
  const sizes = await backend.volumes.diskUsage(
    ctx,
    volumes.map(({ name }) => name),
  );
  const rows = volumes.map((volume, index) => ({
    volume,
    size: sizes[index] ?? 0,
    links: backend.instances.volumeUsers(volume.name).length,
  }));
  return {
    Volumes: rows.map(({ volume, size, links }) => volumeJson(volume, { Size: size, RefCount: links })),
    VolumeUsage: {
      TotalCount: rows.length,
      ActiveCount: rows.filter(({ links }) => links > 0).length,
      TotalSize: sum(rows.map(({ size }) => size)),
      Reclaimable: sum(rows.filter(({ links }) => links === 0).map(({ size }) => size)),
    },
  };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
