/** Images as Docker shows them. */
import { familiar, familiarName, parseReference } from "../../../images/reference.ts";
import type { ImageHistoryItem, RemovedImage } from "../../../images/image-service.ts";
import type { ImageRecord, ImageRunConfig } from "../../../schema/image.ts";
import type { ApiVersion } from "../api-version.ts";
import type { SystemFacts } from "../backend.ts";
import { unixSeconds, zeroTime } from "./timestamps.ts";

/** `GET /images/json`. `containers` -1 and `sharedSize` -1 mean "not computed". */
export function imageSummary(
  image: ImageRecord,
  version: ApiVersion,
  counted: { readonly containers: number; readonly sharedSize: number },
): object {
  return {
    Containers: counted.containers,
    Created: unixSeconds(image.config.created ?? ""),
    Id: image.id,
    Labels: image.config.config?.Labels ?? null,
    ParentId: image.parentId ?? "",
    RepoDigests: image.repoDigests.map(familiar),
    RepoTags: image.tags.map(familiar),
    SharedSize: counted.sharedSize,
    Size: image.size,
    // Clients before 1.44 read this one.
    ...(version.atLeast(44) ? {} : { VirtualSize: image.size }),
  };
}

/** `GET /images/{name}/json`. */
export function inspectImage(image: ImageRecord, version: ApiVersion, facts: SystemFacts): object {
  const { config } = image;
  const last = config.history?.at(-1);
  return {
    Id: image.id,
    RepoTags: image.tags.map(familiar),
    RepoDigests: image.repoDigests.map(familiar),
    Parent: image.parentId ?? "",
    Comment: last?.comment ?? "",
    Created: config.created ?? zeroTime,
    ...(version.atLeast(45) ? {} : { Container: "", ContainerConfig: runConfigJson({}) }),
    DockerVersion: "",
    Author: config.author ?? "",
    Architecture: config.architecture,
    ...(config.variant === undefined || config.variant === "" ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: image.size,
    ...(version.atLeast(44) ? {} : { VirtualSize: image.size }),
    GraphDriver: { Data: {}, Name: facts.storageDriver },
    RootFS: { Type: "layers", ...(config.rootfs.diff_ids.length === 0 ? {} : { Layers: config.rootfs.diff_ids }) },
    Metadata: { LastTagTime: image.lastTaggedAt ?? zeroTime },
    Config: runConfigJson(config.config ?? {}),
  };
}

/** The run part of a configuration with every field that clients look for. */
function runConfigJson(config: ImageRunConfig): object {
  return {
    Cmd: config.Cmd ?? null,
    Entrypoint: config.Entrypoint ?? null,
    Env: config.Env ?? null,
    ...(config.ExposedPorts === undefined ? {} : { ExposedPorts: config.ExposedPorts }),
    ...(config.Healthcheck === undefined ? {} : { Healthcheck: config.Healthcheck }),
    Labels: config.Labels ?? null,
    OnBuild: config.OnBuild ?? null,
    ...(config.Shell === undefined || config.Shell === null ? {} : { Shell: config.Shell }),
    ...(config.StopSignal === undefined ? {} : { StopSignal: config.StopSignal }),
    User: config.User ?? "",
    Volumes: config.Volumes ?? null,
    WorkingDir: config.WorkingDir ?? "",
  };
}

/** `GET /images/{name}/history`. */
export function historyJson(items: readonly ImageHistoryItem[]): readonly object[] {
  return items.map((item) => ({
    Comment: item.comment ?? "",
    Created: unixSeconds(item.created ?? ""),
    CreatedBy: item.created_by ?? "",
    Id: item.id,
    Size: item.size,
    Tags: item.tags.length === 0 ? null : item.tags.map(familiarOrSame),
  }));
}

export function removedJson(removed: readonly RemovedImage[]): readonly object[] {
  return removed.map((item) =>
    "untagged" in item ? { Untagged: familiarOrSame(item.untagged) } : { Deleted: item.deleted },
  );
}

/**
 * What `docker ps` and `docker inspect` show as an image's name: the one it was made from, while that still means the same
 * image; else the id.
 */
export function imageNameNow(given: string, imageId: string, idByTag: ReadonlyMap<string, string>): string {
  if (imageId === "" || /^(sha256:)?[0-9a-f]{4,64}$/.test(given)) return given;
  try {
    const reference = parseReference(given);
    if (reference.digest !== undefined) return given;
    const tagged = `${reference.domain}/${reference.path}:${reference.tag ?? "latest"}`;
    return idByTag.get(tagged) === imageId ? given : imageId;
  } catch {
    // Not a reference: a stand-in that a build step wrote.
    return given;
  }
}

/** For `docker images NAME`: whether a tag or digest matches a shell pattern such as "debian", "debian:*" or "*\/app". */
export function matchesReference(image: ImageRecord, pattern: string): boolean {
  return [...image.tags, ...image.repoDigests].some((name) => nameMatches(name, pattern));
}

/** Whether one tag or digest does, in any of its spellings. */
export function nameMatches(name: string, pattern: string): boolean {
  const reference = parseReference(name);
  const short = familiarName(reference);
  const forms = [short, familiar(name), `${reference.domain}/${reference.path}`, name];
  return forms.some((form) => matchesGlob(form, pattern));
}

/** Go's path.Match: "*" and "?" stop at a slash. */
function matchesGlob(text: string, pattern: string): boolean {
  const source = pattern
    .replaceAll(/[.+^${}()|\\]/g, String.raw`\$&`)
    .replaceAll("*", "[^/]*")
    .replaceAll("?", "[^/]");
  try {
    return new RegExp(`^${source}$`).test(text);
  } catch {
    return text === pattern;
  }
}

function familiarOrSame(name: string): string {
  try {
    return familiar(name);
  } catch {
    // An id, which is no reference.
    return name;
  }
}
