/** Images from Dockerfiles. The solver works on a graph of steps, so that BuildKit's front ends can feed it later. */
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { ImageRecord, Platform } from "../schema/image.ts";
import type { RegistryAuth } from "../images/image-service.ts";
import type { ResourceSpec } from "../schema/resources.ts";
import type { Ulimit } from "../schema/instance.ts";

export interface BuildService {
  /** Output goes to `progress` as Docker's classic builder prints it ("Step 1/4 : FROM debian:bookworm", " ---> 1a2b…"). */
  build(ctx: OpContext, request: BuildRequest, progress: ProgressSink): Promise<ImageRecord>;
  /** Forgets the build cache; bytes reclaimed. */
  pruneCache(
    ctx: OpContext,
    options: { readonly all: boolean; readonly filters: Readonly<Record<string, readonly string[]>> },
  ): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }>;
}

export interface BuildRequest {
  /** Tar of the build context, plain or compressed; or a directory (the library's users). */
  readonly context: { readonly tar: Readable } | { readonly directory: string } | { readonly remote: string };
  /** Path inside the context; "Dockerfile" by default. */
  readonly dockerfile: string;
  readonly tags: readonly string[];
  readonly target: string;
  /** null takes the value of the client's environment (absent here): the ARG keeps its default. */
  readonly buildArgs: Readonly<Record<string, string | null>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly noCache: boolean;
  readonly pull: boolean;
  /** Only the image id as output. */
  readonly quiet: boolean;
  /** Remove step containers also on failure. */
  readonly forceRemove: boolean;
  readonly cacheFrom: readonly string[];
  /** "default", "none", "host", a network's name or "container:<id>". */
  readonly networkMode: string;
  readonly extraHosts: readonly string[];
  readonly resources: ResourceSpec;
  readonly shmSize: number;
  readonly ulimits: readonly Ulimit[];
  readonly squash: boolean;
  readonly platform?: Platform;
  /** By registry host. */
  readonly auths: Readonly<Record<string, RegistryAuth>>;
}
