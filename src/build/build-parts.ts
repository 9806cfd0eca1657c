import type { ConfinedRoots } from "../archive/confined-root.ts";
import type { Clock } from "../base/clock.ts";
import type { BuildArgs } from "../dockerfile/build-args.ts";
import type { Dockerfile } from "../dockerfile/instruction.ts";
import type { Host } from "../host/host.ts";
import type { ImageService } from "../images/image-service.ts";
import type { InstanceService } from "../instances/instance-service.ts";
import type { Platform } from "../schema/image.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import type { BuildRequest } from "./build-service.ts";
import type { CacheDirectories } from "./mounts/cache-directories.ts";
import type { NamedContexts } from "./named-contexts.ts";
import type { SourceTrees } from "./source-trees.ts";

/** The other rooms, as every step of a build needs them. */
export interface BuildParts {
  readonly images: ImageService;
  readonly instances: InstanceService;
  readonly snapshotter: Snapshotter;
  readonly roots: ConfinedRoots;
  readonly host: Host;
  readonly clock: Clock;
  /** Of `RUN --mount=type=cache`. */
  readonly caches: CacheDirectories;
}

/** One build under way. */
export interface Build {
  readonly parts: BuildParts;
  readonly id: string;
  /** Its own files: the context, downloads, scripts. Gone with the build. */
  readonly directory: string;
  readonly request: BuildRequest;
  readonly dockerfile: Dockerfile;
  readonly args: BuildArgs;
  /** What images are built for unless a FROM says otherwise. */
  readonly platform: Platform;
  readonly trees: SourceTrees;
  readonly contexts: NamedContexts;
  /** Nobody removes or prunes this image before the build has ended. */
  keep(imageId: string): Promise<void>;
  /** A name of its own for the next snapshot of this build. */
  nextSnapshotId(): string;
}

/** Snapshots of builds start with this; recovery removes those that are left. */
export const snapshotPrefix = "build-";
