/** Images from Dockerfiles. The solver works on a graph of steps, so that BuildKit's front ends can feed it later. */
import type { Duplex, Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { ImageRecord, Platform } from "../schema/image.ts";
import type { RegistryAuth } from "../images/image-service.ts";
import type { ResourceSpec } from "../schema/resources.ts";
import type { Ulimit } from "../schema/instance.ts";
import type { CacheDirectoryUsage } from "./mounts/cache-directories.ts";
import type { RootView } from "./source-trees.ts";
import type { VertexSink } from "./vertex-output.ts";

export interface BuildService {
  /** Output goes to `progress` as Docker's classic builder prints it ("Step 1/4 : FROM debian:bookworm", " ---> 1a2b…"). */
  build(ctx: OpContext, request: BuildRequest, progress: ProgressSink): Promise<ImageRecord>;
  /** The same, for clients that draw a build as a graph: no text, `sink` is told of each step that makes files. */
  buildObserved(ctx: OpContext, request: BuildRequest, sink: VertexSink): Promise<ImageRecord>;
  /** Forgets the build cache; bytes reclaimed. */
  pruneCache(
    ctx: OpContext,
    options: { readonly all: boolean; readonly filters: Readonly<Record<string, readonly string[]>> },
  ): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }>;
  /** The directories of `RUN --mount=type=cache`, which a prune takes as well. */
  cacheDirectories(ctx: OpContext): Promise<readonly CacheDirectoryUsage[]>;
}

export interface BuildRequest {
  /** Tar of the build context, plain or compressed; or a directory (the library's users). */
  readonly context:
    | { readonly tar: Readable }
    | { readonly directory: string }
    | { readonly remote: string }
    | { readonly source: ContextSource };
  /** Path inside the context; "Dockerfile" by default. */
  readonly dockerfile: string;
  /** By the names that FROM and COPY --from have for them; they go before images and replace stages. */
  readonly namedContexts?: Readonly<Record<string, NamedContext>>;
  readonly tags: readonly string[];
  readonly target: string;
  /** null takes the value of the client's environment (absent here): the ARG keeps its default. */
  readonly buildArgs: Readonly<Record<string, string | null>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly noCache: boolean;
  /** Stages whose steps are done again, whatever the cache has. */
  readonly noCacheStages?: readonly string[];
  readonly pull: boolean;
  /** Only the image id as output. */
  readonly quiet: boolean;
  /** Remove step containers also on failure. */
  readonly forceRemove: boolean;
  readonly cacheFrom: readonly string[];
  /** Whether the engine's own cache counts beside `cacheFrom`, as with BuildKit; else those images and no others. */
  readonly ownCacheToo?: boolean;
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
  /** Asked for a host that `auths` does not have. */
  readonly askAuth?: (ctx: OpContext, domain: string) => Promise<RegistryAuth | undefined>;
  /** What the build's client has for its steps; absent where it has no session. */
  readonly secrets?: ClientSecrets;
  readonly sshAgents?: ClientSshAgents;
  /** False makes no image of the result that is listed: it goes elsewhere. */
  readonly listed?: boolean;
  /** Called with what was built while nobody can prune it; the build has not succeeded before this has. */
  readonly use?: (ctx: OpContext, built: BuiltImage) => Promise<void>;
}

/** What a build has come to. */
export interface BuiltImage {
  readonly image: ImageRecord;
  /** Its root file system, read-only, until the build is over. */
  files(ctx: OpContext): Promise<RootView>;
}

export interface ClientSecrets {
  /** Undefined when the client has none of that name. */
  get(ctx: OpContext, id: string): Promise<Uint8Array | undefined>;
}

export interface ClientSshAgents {
  has(ctx: OpContext, id: string): Promise<boolean>;
  /** Joins a connection of a step to the agent, until either side has ended it. */
  connect(ctx: OpContext, id: string, connection: Duplex): Promise<void>;
}

export type NamedContext =
  | { readonly kind: "image"; readonly reference: string }
  | { readonly kind: "files"; readonly source: FilesSource };

/** Files that come when a step first needs them; asked for once at most. */
export type FilesSource =
  /** Tar of them, plain or compressed. */
  | { open(ctx: OpContext): Promise<Readable> }
  /** A repository, or a tar. */
  | { readonly remote: string };

/** A context whose Dockerfile came by itself, and whose files come when a step first needs them. */
export interface ContextSource {
  /** The Dockerfile's text; the request's `dockerfile` is its name. */
  readonly dockerfile: string;
  /** Tar of the files, without those that .dockerignore names. Called once at most. */
  open(ctx: OpContext): Promise<Readable>;
}
