/** Everything around a builder, for tests: images in memory, root file systems in a directory, commands as functions. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { newId } from "../../base/ids.ts";
import { silentLogger } from "../../base/logger.ts";
import { FakeHost } from "../../host/fake/fake-host.ts";
import { chainId } from "../../images/chain-id.ts";
import { imageErrors } from "../../images/errors.ts";
import type { CreateImageRequest, ImageService, PullRequest } from "../../images/image-service.ts";
import { formatReference, parseReference, withDefaultTag } from "../../images/reference.ts";
import type { InstanceRequest, InstanceService } from "../../instances/instance-service.ts";
import type { ImageRecord, ImageRunConfig } from "../../schema/image.ts";
import type { LayerSink, Snapshotter } from "../../snapshots/snapshotter.ts";
import { EventBus } from "../../state/events.ts";
import { MemoryStore } from "../../state/fake/memory-store.ts";
import { createBuildService, type RecoverableBuildService } from "../builder.ts";
import { directoryRoots } from "./directory-roots.ts";
import { DirectorySnapshotter } from "./directory-snapshotter.ts";

/** A command run by a RUN: changes files under `root`, prints, and ends with its code. */
export type FakeCommand = (
  root: string,
  request: InstanceRequest,
  print: (text: string, stream?: "stdout" | "stderr") => void,
  signal: AbortSignal,
) => Promise<number>;

export class BuildWorld implements AsyncDisposable {
  readonly directory: string;
  readonly snapshotter: DirectorySnapshotter;
  readonly store = new MemoryStore();
  readonly images = new Map<string, ImageRecord>();
  readonly pulls: PullRequest[] = [];
  /** Containers that were made, and those that are still there. */
  readonly created: InstanceRequest[] = [];
  readonly alive = new Set<string>();
  readonly builder: RecoverableBuildService;
  /** Layers in the making. */
  readonly openSinks = new Set<LayerSink>();

  private constructor(directory: string, command: FakeCommand) {
    this.directory = directory;
    this.snapshotter = new DirectorySnapshotter(directory);
    this.builder = createBuildService({
      store: this.store,
      images: this.#imageService(),
      instances: this.#instanceService(command),
      snapshotter: this.snapshotter as Partial<Snapshotter> as Snapshotter,
      roots: directoryRoots,
      host: new FakeHost(),
      events: new EventBus(),
      dataRoot: directory,
      log: silentLogger,
    });
  }

  static async open(command: FakeCommand): Promise<BuildWorld> {
    return new BuildWorld(await mkdtemp(join(tmpdir(), "berth-build-")), command);
  }

  /** An image without layers, to start from. */
  addImage(reference: string, config: ImageRunConfig = {}): ImageRecord {
    return this.#create({
      config: {
        architecture: "amd64",
        os: "linux",
        config,
        rootfs: { type: "layers", diff_ids: [] },
        history: [{ created_by: reference }],
      },
      layers: [],
      reference,
    });
  }

  byTag(reference: string): ImageRecord | undefined {
    const name = formatReference(withDefaultTag(parseReference(reference)));
    return [...this.images.values()].find(({ tags }) => tags.includes(name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  #create({ config, layers, parentId, reference, intermediate }: CreateImageRequest): ImageRecord {
    const id = `sha256:${createHash("sha256").update(JSON.stringify(config)).digest("hex")}`;
    const before = this.images.get(id);
    const record: ImageRecord = {
      id,
      manifest: { mediaType: "", digest: id, size: 0 },
      layers,
      config,
      tags: before?.tags ?? [],
      repoDigests: [],
      size: 0,
      ...(parentId === undefined ? {} : { parentId }),
      intermediate: (intermediate ?? false) && (before?.intermediate ?? true),
    };
    this.images.set(id, record);
    return reference === undefined ? record : this.#tag(id, reference);
  }

  #resolve(name: string): ImageRecord {
    const found = this.images.get(name) ?? this.byTag(name);
    if (found === undefined) throw imageErrors.IMAGE_NOT_FOUND({ reference: name });
    return found;
  }

  #tag(id: string, reference: string): ImageRecord {
    const tag = formatReference(withDefaultTag(parseReference(reference)));
    for (const [other, image] of this.images) {
      this.images.set(other, { ...image, tags: image.tags.filter((name) => name !== tag) });
    }
    const image = this.#resolve(id);
    const tagged = { ...image, tags: [...image.tags, tag], intermediate: false };
    this.images.set(id, tagged);
    return tagged;
  }

  #imageService(): ImageService {
    const service: Partial<ImageService> = {
      resolve: (name) => this.#resolve(name),
      list: (options) =>
        [...this.images.values()].filter((image) => options?.intermediate === true || !image.intermediate),
      create: async (_ctx, request) => this.#create(request),
      tag: async (_ctx, id, reference) => void this.#tag(id, reference),
      pull: async (_ctx, request, progress) => {
        this.pulls.push(request);
        progress({ status: "Pulling", id: request.reference });
        if (request.reference.includes("missing")) throw imageErrors.IMAGE_NOT_FOUND({ reference: request.reference });
        return this.addImage(request.reference);
      },
      keep: async () => ({ [Symbol.dispose]: () => {} }),
      unpack: async (_ctx, { config }) => chainId(config.rootfs.diff_ids),
      remove: async (_ctx, id) => {
        this.images.delete(id);
        return [{ deleted: id }];
      },
      diskUsage: async () => ({
        total: this.images.size * 100,
        imagesSize: 0,
        imagesReclaimable: 0,
        images: new Map(),
        cacheSize: 0,
        cacheReclaimable: 0,
        cache: [],
      }),
      layerSink: async () => {
        const hash = createHash("sha256");
        const sink: LayerSink = {
          write: async (chunk) => void hash.update(chunk),
          finish: async () => ({ digest: `sha256:${hash.digest("hex")}`, size: 1, mediaType: "layer" }),
          [Symbol.asyncDispose]: async () => void this.openSinks.delete(sink),
        };
        this.openSinks.add(sink);
        return sink;
      },
    };
    return service as ImageService;
  }

  #instanceService(command: FakeCommand): InstanceService {
    const runs = new Map<
      string,
      { request: InstanceRequest; output: PassThrough; exit: PromiseWithResolvers<number>; abort: AbortController }
    >();
    const run = (id: string) => {
      const found = runs.get(id);
      if (found === undefined) throw new Error(`no instance ${id}`);
      return found;
    };
    const service: Partial<InstanceService> = {
      create: async (ctx, request) => {
        const id = newId();
        this.created.push(request);
        this.alive.add(id);
        runs.set(id, {
          request,
          output: new PassThrough({ objectMode: true }),
          exit: Promise.withResolvers(),
          abort: new AbortController(),
        });
        await this.snapshotter.prepare(ctx, id, request.rootfsChainId ?? "");
        return { record: { id } as never, warnings: [] };
      },
      attach: async (_ctx, id) => ({ tty: false, output: run(id).output, stdin: undefined, detach: () => {} }),
      wait: async (_ctx, id) => ({ done: run(id).exit.promise.then((exitCode) => ({ exitCode, error: "" })) }),
      start: async (_ctx, id) => {
        const { request, output, exit, abort } = run(id);
        const print = (text: string, stream: "stdout" | "stderr" = "stdout"): void => {
          output.write({ stream, data: Buffer.from(text) });
        };
        const finish = async (): Promise<void> => {
          const code = await command(this.snapshotter.path(id), request, print, abort.signal);
          output.end();
          exit.resolve(code);
        };
        void finish();
        return { started: true };
      },
      remove: async (ctx, id) => {
        run(id).abort.abort();
        this.alive.delete(id);
        await this.snapshotter.remove(ctx, id);
      },
    };
    return service as InstanceService;
  }
}
