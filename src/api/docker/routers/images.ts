import type { Static } from "typebox";
import { platformOf as imagePlatform, platformSatisfies, formatPlatform } from "../../../images/platform.ts";
import {
  InspectImageQuery,
  ListImagesQuery,
  PruneImagesQuery,
  RemoveImageQuery,
  SearchImagesQuery,
  TagImageQuery,
} from "../../../schema/docker/image.ts";
import type { ImageRecord } from "../../../schema/image.ts";
import type { DockerBackend } from "../backend.ts";
import {
  historyJson,
  imageSummary,
  inspectImage,
  matchesReference,
  nameMatches,
  removedJson,
} from "../codecs/image-json.ts";
import { matchesLabels } from "../codecs/label-filter.ts";
import { platformParameter } from "../codecs/platform.ts";
import { repositoryReference } from "../codecs/repository-reference.ts";
import { sharedSizes } from "../codecs/shared-size.ts";
import { filterFlag } from "../codecs/filter-values.ts";
import { parseFlag } from "../codecs/query.ts";
import { parseUntil, unixSeconds } from "../codecs/timestamps.ts";
import { apiErrors } from "../errors.ts";
import { type Call, createdEmpty, ok, type Route, route } from "../route.ts";

export const imageRoutes: readonly Route[] = [
  route({ method: "GET", path: "/images/json", summary: "List images", query: ListImagesQuery, handle: listImages }),
  route({
    method: "GET",
    path: "/images/{name}/json",
    summary: "Inspect an image",
    query: InspectImageQuery,
    handle: ({ backend, name, query, version }) => {
      const image = backend.images.resolve(name);
      const wanted = platformParameter(query.platform);
      if (wanted !== undefined && !platformSatisfies(imagePlatform(image.config), wanted)) {
        throw apiErrors.API_NOT_FOUND({
          message: `image with reference ${name} was found but its platform (${formatPlatform(imagePlatform(image.config))}) does not match the specified platform (${formatPlatform(wanted)})`,
        });
      }
      return ok(inspectImage(image, version, backend.system.facts));
    },
  }),
  route({
    method: "GET",
    path: "/images/{name}/history",
    summary: "How an image came to be",
    handle: ({ backend, name }) => ok(historyJson(backend.images.history(backend.images.resolve(name).id))),
  }),
  route({
    method: "POST",
    path: "/images/{name}/tag",
    summary: "Give an image a further name",
    query: TagImageQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      const image = backend.images.resolve(name);
      await backend.images.tag(ctx, image.id, repositoryReference(query.repo, query.tag));
      return createdEmpty;
    },
  }),
  route({
    method: "DELETE",
    path: "/images/{name}",
    summary: "Untag an image, and delete it with its last tag",
    query: RemoveImageQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      if (name.trim() === "") throw apiErrors.API_BAD_REQUEST({ message: "image name cannot be blank" });
      if (query.platforms.length > 0) throw apiErrors.API_UNSUPPORTED({ what: "removing one platform of an image" });
      const options = { force: query.force, noPrune: query.noprune };
      return ok(removedJson(await backend.images.remove(ctx, name, options)));
    },
  }),
  route({
    method: "POST",
    path: "/images/prune",
    summary: "Remove unused images",
    since: 25,
    query: PruneImagesQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, query }) => {
      const { dangling, ...filters } = query.filters;
      const all = dangling?.some((value) => !parseFlag(value)) === true;
      const { deleted, reclaimedBytes } = await backend.images.prune(ctx, { all, filters });
      return ok({ ImagesDeleted: deleted.length === 0 ? null : removedJson(deleted), SpaceReclaimed: reclaimedBytes });
    },
  }),
  route({
    method: "GET",
    path: "/images/search",
    summary: "Search Docker Hub: not supported",
    query: SearchImagesQuery,
    handle: () => {
      throw apiErrors.API_UNSUPPORTED({
        what: "searching Docker Hub",
        hint: "registries have no standard way to search; look on the registry's own site",
      });
    },
  }),
];

function listImages({ backend, query, version }: Call<Static<typeof ListImagesQuery>>) {
  const { images, instances } = backend;
  const references =
    query.filters.reference ?? (query.filter !== "" && !version.atLeast(41) ? [query.filter] : undefined);
  const filters: Readonly<Record<string, readonly string[]>> = {
    ...query.filters,
    ...(references === undefined ? {} : { reference: references }),
  };
  const tests = Object.entries(filters).map(([name, values]) => imageTest(name, values, backend));
  const all = images.list({ intermediate: query.all || filters.dangling !== undefined });
  const shared = query["shared-size"] ? sharedSizes(images) : undefined;
  const listed = all.filter((image) => tests.every((test) => test(image)));
  const rows = listed
    .map((image) => (references === undefined || references.length === 0 ? image : onlyNamed(image, references)))
    .toSorted((a, b) => unixSeconds(b.config.created ?? "") - unixSeconds(a.config.created ?? ""))
    .map((image) =>
      imageSummary(image, version, {
        containers: instances.imageUsers(image.id).length,
        sharedSize: shared?.get(image.id) ?? -1,
      }),
    );
  return ok(rows);
}

function imageTest(
  name: string,
  values: readonly string[],
  { images }: DockerBackend,
): (image: ImageRecord) => boolean {
  switch (name) {
    case "reference":
      return (image) => values.length === 0 || values.some((pattern) => matchesReference(image, pattern));
    case "label":
      return (image) => matchesLabels(image.config.config?.Labels ?? {}, values);
    case "dangling": {
      const wanted = filterFlag(name, values);
      return (image) => (image.tags.length === 0 && image.repoDigests.length === 0 && !image.intermediate) === wanted;
    }
    case "before": {
      const limits = values.map((value) => createdAt(images.resolve(value)));
      return (image) => limits.every((limit) => createdAt(image) < limit);
    }
    case "since": {
      const limits = values.map((value) => createdAt(images.resolve(value)));
      return (image) => limits.every((limit) => createdAt(image) > limit);
    }
    case "until": {
      const limits = values.map((value) => parseUntil("until", value, Date.now()));
      return (image) => limits.every((limit) => createdAt(image) <= limit);
    }
    default:
      throw apiErrors.API_INVALID_FILTER({ name });
  }
}

/** An image under those of its names that were asked for, as Docker lists it. */
function onlyNamed(image: ImageRecord, patterns: readonly string[]): ImageRecord {
  const asked = (name: string) => patterns.some((pattern) => nameMatches(name, pattern));
  return { ...image, tags: image.tags.filter(asked), repoDigests: image.repoDigests.filter(asked) };
}

function createdAt(image: ImageRecord): number {
  const ms = Date.parse(image.config.created ?? "");
  return Number.isNaN(ms) ? 0 : ms;
}
