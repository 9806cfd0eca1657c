/** Images made on the spot, under the names that the suites' tests use. */
import { busyboxArchive, type ImageOptions } from "../test/support/busybox-image.ts";

export interface StandIn {
  /** Full names: "docker.io/library/alpine:3.10". */
  readonly names: readonly string[];
  /** A docker-archive whose one image has the tag {@link archiveTag}. */
  archive(): Promise<Buffer>;
  /** Loaded into the engine before the suite runs, too: for names no mirror serves. */
  readonly preload?: boolean;
}

export const archiveTag = "conformance/stand-in:latest";

/** A busybox of the host's in a root of its own. Those that differ in nothing else differ by their first name. */
export function busyboxStandIn(names: readonly string[], options: Omit<ImageOptions, "tags"> = {}): StandIn {
  const [name = ""] = names;
  return {
    names,
    archive: async () =>
      await busyboxArchive({
        ...options,
        tags: [archiveTag],
        files: { "etc/stand-in": `${name}\n`, ...options.files },
      }),
  };
}

/** "docker.io/library/alpine:3.10" is at "library/alpine:3.10" of the registry that is docker.io's mirror; so is quay.io's. */
export function pathInRegistry(name: string): string {
  return name.slice(name.indexOf("/") + 1);
}

/** The name a client would give: "alpine:3.10" of docker.io, the full name of others. */
export function familiarName(name: string): string {
  return name.replace(/^docker\.io\/(library\/)?/, "");
}
