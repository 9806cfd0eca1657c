import {
  CreateVolumeBody,
  ListVolumesQuery,
  PruneVolumesQuery,
  RemoveVolumeQuery,
} from "../../../schema/docker/volume.ts";
import type { VolumeRecord } from "../../../schema/volume.ts";
import type { DockerBackend } from "../backend.ts";
import { anyPattern, filterFlag } from "../codecs/filter-values.ts";
import { matchesLabels } from "../codecs/label-filter.ts";
import { volumeDriverMissing } from "../codecs/unsupported.ts";
import { volumeJson } from "../codecs/volume-json.ts";
import { apiErrors } from "../errors.ts";
import { created, noContent, ok, type Route, route } from "../route.ts";

export const volumeRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/volumes",
    summary: "List volumes",
    query: ListVolumesQuery,
    handle: ({ backend, query }) => {
      const tests = Object.entries(query.filters).map(([name, values]) => volumeTest(name, values, backend));
      const listed = backend.volumes.list().filter((volume) => tests.every((test) => test(volume)));
      return ok({ Volumes: listed.map((volume) => volumeJson(volume)), Warnings: null });
    },
  }),
  route({
    method: "POST",
    path: "/volumes/create",
    summary: "Create a volume",
    body: CreateVolumeBody,
    bodyOptional: true,
    outlivesClient: true,
    handle: async ({ backend, ctx, body }) => {
      if (body.ClusterVolumeSpec !== undefined && body.ClusterVolumeSpec !== null) {
        throw apiErrors.API_UNSUPPORTED({ what: "ClusterVolumeSpec", hint: "there is no Swarm" });
      }
      const driver = body.Driver || "local";
      if (driver !== "local") throw volumeDriverMissing(driver, `create ${body.Name ?? ""}: `);
      const volume = await backend.volumes.create(ctx, {
        name: body.Name ?? "",
        driver,
        options: body.DriverOpts ?? {},
        labels: body.Labels ?? {},
      });
      return created(volumeJson(volume));
    },
  }),
  route({
    method: "GET",
    path: "/volumes/{name}",
    summary: "Inspect a volume",
    handle: ({ backend, name }) => ok(volumeJson(backend.volumes.require(name))),
  }),
  route({
    method: "DELETE",
    path: "/volumes/{name}",
    summary: "Remove a volume",
    query: RemoveVolumeQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      await backend.volumes.remove(ctx, name, query.force);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: "/volumes/prune",
    summary: "Remove unused volumes",
    since: 25,
    query: PruneVolumesQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, query, version }) => {
      // Before 1.42 named volumes were pruned as well.
      const filters = version.atLeast(42) ? query.filters : { ...query.filters, all: ["true"] };
      const { deleted, reclaimedBytes } = await backend.volumes.prune(ctx, filters);
      return ok({ VolumesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimedBytes });
    },
  }),
];

function volumeTest(
  name: string,
  values: readonly string[],
  { instances }: DockerBackend,
): (volume: VolumeRecord) => boolean {
  switch (name) {
    case "name": {
      const matches = anyPattern(values);
      return (volume) => matches(volume.name);
    }
    case "driver":
      return (volume) => values.includes(volume.driver);
    case "label":
      return (volume) => matchesLabels(volume.labels, values);
    case "dangling": {
      const wanted = filterFlag(name, values);
      return (volume) => (instances.volumeUsers(volume.name).length === 0) === wanted;
    }
    default:
      throw apiErrors.API_INVALID_FILTER({ name });
  }
}
