import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { ConfinedRoots } from "../archive/confined-root.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { newId, shortId } from "../base/ids.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/logger.ts";
import { type OpContext, withLog } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import { noProgress } from "../base/progress.ts";
import { Reverter } from "../base/reverter.ts";
import { BuildArgs, platformArgs, unusedArgs } from "../dockerfile/build-args.ts";
import { locate } from "../dockerfile/errors.ts";
import { expandWord } from "../dockerfile/expand-word.ts";
import type { Dockerfile } from "../dockerfile/instruction.ts";
import { spreadSubdirectories } from "../host/directory-placement.ts";
import { mkdir, rm } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import type { ImageService } from "../images/image-service.ts";
import { familiar, parseReference } from "../images/reference.ts";
import type { InstanceService } from "../instances/instance-service.ts";
import type { ImageRecord, Platform } from "../schema/image.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import type { EventBus } from "../state/events.ts";
import type { Store } from "../state/store.ts";
import { BuildCache } from "./build-cache.ts";
import { type Build, type BuildParts, snapshotPrefix } from "./build-parts.ts";
import type { BuildRequest, BuildService } from "./build-service.ts";
import { usableResults } from "./cache-source.ts";
import { takeContext } from "./context/intake.ts";
import { buildErrors } from "./errors.ts";
import { buildGraph } from "./graph.ts";
import { CacheDirectories } from "./mounts/cache-directories.ts";
import { NamedContexts } from "./named-contexts.ts";
import { type BuildOutput, OrderedOutput } from "./output.ts";
import { pruneBuildCache } from "./prune.ts";
import { Solver, throwIfCancelled } from "./solver.ts";
import { SourceTrees } from "./source-trees.ts";
import type { StepState } from "./step-state.ts";
import { VertexOutput } from "./vertex-output.ts";

export interface BuildDependencies {
  readonly store: Store;
  readonly images: ImageService;
  readonly instances: InstanceService;
  readonly snapshotter: Snapshotter;
  readonly roots: ConfinedRoots;
  readonly host: Host;
  readonly events: EventBus;
  readonly dataRoot: string;
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface RecoverableBuildService extends BuildService {
  /** At start, before any build: removes what builds of a killed engine left. Instances and images recover their own. */
  recover(ctx: OpContext): Promise<void>;
}

/** Who is told of a build: `print` of it as a whole, `output` of its steps. */
interface Teller {
  readonly print: ProgressSink;
  readonly output: BuildOutput;
}

/** Journal kind of a build: its directory and snapshots are to be removed. */
const journalKind = "build.run";

export function createBuildService(dependencies: BuildDependencies): RecoverableBuildService {
  const clock = dependencies.clock ?? systemClock;
  const caches = new CacheDirectories({ ...dependencies, clock }, join(dependencies.dataRoot, "build-cache-mounts"));
  const parts: BuildParts = { ...dependencies, clock, caches };
  const cache = new BuildCache(dependencies.store, clock);
  const locks = new KeyedMutex();
  const buildRoot = join(dependencies.dataRoot, "build");

  const build = async (outer: OpContext, request: BuildRequest, teller: Teller): Promise<ImageRecord> => {
    checkRequest(request);
    const id = shortId(newId());
    const ctx = withLog(outer, { build: id });
    try {
      return await buildIn(ctx, id, request, teller);
    } catch (error) {
      throwIfCancelled(ctx);
      throw error;
    }
  };

  const buildIn = async (
    ctx: OpContext,
    id: string,
    request: BuildRequest,
    { print, output }: Teller,
  ): Promise<ImageRecord> => {
    // Not undone but always ended: nothing of a build but its images and cache outlives it.
    await using cleanup = new Reverter(ctx);
    const directory = join(buildRoot, id);
    const journal = dependencies.store.journal.begin(journalKind, id, { directory });
    cleanup.add("end the journal entry", () => journal.end());
    await mkdir(directory, { recursive: true, mode: 0o700 });
    cleanup.add("remove the build's directory", () => rm(directory, { recursive: true, force: true }));

    const context = await takeContext(ctx, parts, request, directory);
    const contexts = new NamedContexts(request.namedContexts);
    const trees = new SourceTrees(parts, directory, context.files, contexts.files(parts, directory));
    cleanup.add("close the source trees", () => trees[Symbol.asyncDispose]());
    using kept = new DisposableStack();
    const build = newBuild(parts, id, directory, request, context.dockerfile, { trees, contexts }, kept);
    const image = await solve(ctx, build, output, print);
    if (request.listed !== false) await finish(ctx, request, image, print);
    await request.use?.(ctx, { image, files: async (ctx) => trees.view(ctx, await parts.images.unpack(ctx, image)) });
    return image;
  };

  const solve = async (
    ctx: OpContext,
    build: Build,
    output: BuildOutput,
    print: ProgressSink,
  ): Promise<ImageRecord> => {
    for (const warning of build.dockerfile.warnings) print({ stream: `${warning}\n` });
    const solver = new Solver<StepState, string>(cache, locks, {
      concurrency: Math.max(2, dependencies.host.facts.cpus),
      isUsable: usableResults(build),
    });
    try {
      const { image } = await solver.solve(ctx, buildGraph(build, output));
      if (image === undefined) throw buildErrors.BUILD_NO_IMAGE(undefined);
      const unused = unusedArgs(build.request.buildArgs, build.dockerfile);
      if (unused.length > 0) {
        output.flush();
        print({ stream: `[Warning] One or more build-args [${unused.join(" ")}] were not consumed\n` });
      }
      return image;
    } finally {
      output.flush();
    }
  };

  const finish = async (
    ctx: OpContext,
    request: BuildRequest,
    image: ImageRecord,
    print: ProgressSink,
  ): Promise<void> => {
    // An image that was asked for is listed, with or without a name.
    const [first] = request.tags;
    if (image.intermediate) {
      const { config, layers, parentId } = image;
      await dependencies.images.create(ctx, {
        config,
        layers,
        intermediate: false,
        ...(parentId === undefined ? {} : { parentId }),
        // At once with its name: a killed engine leaves no nameless image to be listed.
        ...(first === undefined ? {} : { reference: first }),
      });
    }
    print({ stream: `Successfully built ${shortId(image.id)}\n` });
    for (const tag of request.tags) {
      await dependencies.images.tag(ctx, image.id, tag);
      print({ stream: `Successfully tagged ${familiar(withTag(tag))}\n` });
    }
  };

  return {
    build: async (ctx, request, progress) => {
      const print = request.quiet ? noProgress : progress;
      const image = await build(ctx, request, { print, output: new OrderedOutput(print) });
      if (request.quiet) progress({ stream: `${image.id}\n` });
      return image;
    },
    buildObserved: (ctx, request, sink) => build(ctx, request, { print: noProgress, output: new VertexOutput(sink) }),
    pruneCache: (ctx, options) => pruneBuildCache(ctx, { ...dependencies, cache, caches, clock }, options),
    cacheDirectories: (ctx) => caches.usage(ctx),
    recover: async (ctx) => {
      await mkdir(buildRoot, { recursive: true, mode: 0o700 });
      spreadSubdirectories(buildRoot);
      for (const snapshot of await dependencies.snapshotter.list()) {
        if (snapshot.startsWith(snapshotPrefix)) await dependencies.snapshotter.remove(ctx, snapshot);
      }
      await unmountBelow(ctx, dependencies.host, buildRoot);
      for (const name of await readdir(buildRoot)) {
        await rm(join(buildRoot, name), { recursive: true, force: true });
      }
      for (const entry of dependencies.store.journal.open()) {
        if (entry.kind === journalKind) entry.end();
      }
      await caches.recover();
    },
  };
}

/** Secrets of steps that a killed engine had under way. */
async function unmountBelow(ctx: OpContext, { kernel }: Host, directory: string): Promise<void> {
  for (const { target } of (await kernel.mounts(directory)).toReversed()) {
    await kernel.apply(ctx, [{ op: "unmount", target, detach: true }]);
  }
}

function newBuild(
  parts: BuildParts,
  id: string,
  directory: string,
  request: BuildRequest,
  dockerfile: Dockerfile,
  sources: Pick<Build, "trees" | "contexts">,
  kept: DisposableStack,
): Build {
  const host: Platform = { os: "linux", architecture: parts.host.facts.architecture };
  const platform = request.platform ?? host;
  const args = new BuildArgs(request.buildArgs, platformArgs(platform, host));
  for (const instruction of dockerfile.metaArgs) {
    for (const { name, value } of instruction.args) {
      const expand = (word: string): string =>
        locate(instruction.position, () =>
          expandWord(word, { escape: dockerfile.escape, lookup: (other) => args.meta(other) }),
        );
      args.declareMeta(expand(name), value === undefined ? undefined : expand(value));
    }
  }
  let snapshots = 0;
  return {
    parts,
    id,
    directory,
    request,
    dockerfile,
    args,
    platform,
    ...sources,
    keep: async (imageId) => void kept.use(await parts.images.keep(imageId)),
    nextSnapshotId: () => `${snapshotPrefix}${id}-${++snapshots}`,
  };
}

/** Before anything is read or made. */
function checkRequest(request: BuildRequest): void {
  for (const tag of request.tags) {
    if (parseReference(tag).digest !== undefined) {
      throw buildErrors.BUILD_OPTION_UNSUPPORTED({
        option: "tag",
        reason: `${tag} has a digest, which only a registry gives`,
      });
    }
  }
  if (request.squash) {
    throw buildErrors.BUILD_OPTION_UNSUPPORTED({ option: "squash", reason: "images keep a layer for each step" });
  }
}

function withTag(reference: string): string {
  const { tag } = parseReference(reference);
  return tag === undefined ? `${reference}:latest` : reference;
}
