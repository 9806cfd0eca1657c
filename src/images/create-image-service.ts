import { readdir } from "node:fs/promises";
import type { Readable } from "node:stream";
import { type Clock, systemClock } from "../base/clock.ts";
import type { OpContext } from "../base/op-context.ts";
import { noProgress, type ProgressSink } from "../base/progress.ts";
import type { ContentStore } from "../content/content-store.ts";
import { mkdir } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import type { EngineConfig } from "../schema/config.ts";
import type { ImageRecord, Platform } from "../schema/image.ts";
import type { LayerSink, Snapshotter } from "../snapshots/snapshotter.ts";
import type { EventBus } from "../state/events.ts";
import type { Store } from "../state/store.ts";
import { type BootstrapParts, bootstrapImage, removeBootstrapRemains } from "./bootstrap/bootstrap.ts";
import { chainId, chainIds } from "./chain-id.ts";
import { measureImages } from "./disk-usage.ts";
import { imageErrors } from "./errors.ts";
import { Garbage, type LayerRemoved } from "./garbage.ts";
import { imageHistory } from "./history.ts";
import { ImageEvents } from "./image-events.ts";
import type { ImageRoom } from "./image-room.ts";
import type * as Api from "./image-service.ts";
import { ImageStore } from "./image-store.ts";
import { importImage } from "./import.ts";
import { LayerConversions } from "./layer-conversions.ts";
import { ZstdLayerSink } from "./layer-sink.ts";
import { imageLease, Leases } from "./leases.ts";
import { loadImages } from "./load.ts";
import { pruneImages, STALE_DOWNLOAD_MS } from "./prune.ts";
import { Puller } from "./pull.ts";
import { Pusher } from "./push.ts";
import { formatReference, parseReference, withDefaultTag } from "./reference.ts";
import { RegistryCertificates } from "./registry/certificates.ts";
import { RegistryClient } from "./registry/client.ts";
import type { CredentialSource } from "./registry/credentials.ts";
import { Endpoints } from "./registry/endpoints.ts";
import { DEFAULT_RETRY, type RetryPolicy } from "./registry/retry.ts";
import { DEFAULT_TIMEOUTS, Transport, type TransportTimeouts } from "./registry/transport.ts";
import { DEFAULT_UPLOAD_CHUNK_BYTES } from "./registry/upload.ts";
import { RegistryQueries } from "./registry-queries.ts";
import { ImageRemover } from "./remove.ts";
import { saveImageAs, saveImages } from "./save.ts";
import { SinkLeases } from "./sink-leases.ts";
import { assembleImage } from "./store-image.ts";
import { Unpacker } from "./unpack.ts";

export interface ImageServiceParts {
  readonly store: Store;
  readonly content: ContentStore;
  readonly snapshotter: Snapshotter;
  readonly host: Pick<Host, "processes" | "kernel" | "facts">;
  readonly events: EventBus;
  readonly config: Pick<
    EngineConfig,
    "registryMirrors" | "insecureRegistries" | "maxConcurrentDownloads" | "maxConcurrentUploads"
  >;
  /** Who holds images. */
  readonly users: Api.ImageUsers;
  /** Keeps what it has made of layers no longer than these. */
  readonly layerRemoved?: LayerRemoved;
  /** A directory of the data root for trees in the making; made when missing. */
  readonly workDir: string;
  /** Used where a request brings no credentials: for the library. A server's clients bring theirs. */
  readonly credentials?: CredentialSource;
  readonly clock?: Clock;
  readonly retry?: RetryPolicy;
  readonly timeouts?: TransportTimeouts;
  /** Layers beyond this are uploaded in pieces of it. */
  readonly uploadChunkBytes?: number;
  /** Docker's directory of registry certificates, "/etc/docker/certs.d". */
  readonly certificatesDirectory?: string;
  /** The host's "/etc", for `bootstrap`. */
  readonly etc?: string;
}

/** The image room as the engine runs it. */
export interface EngineImages extends Api.ImageService, Disposable {
  /** At start, after the snapshotter has recovered: removes what a killed engine left. */
  recover(ctx: OpContext): Promise<void>;
  /** `docker login` and `docker manifest`. */
  readonly registry: RegistryQueries;
}

export function createImageService(parts: ImageServiceParts): EngineImages {
  return new Images(parts);
}

class Images implements EngineImages {
  readonly registry: RegistryQueries;
  readonly #parts: ImageServiceParts;
  readonly #room: ImageRoom;
  readonly #puller: Puller;
  readonly #pusher: Pusher;
  readonly #remover: ImageRemover;
  readonly #bootstrap: BootstrapParts;
  readonly #sinks: SinkLeases;
  readonly #transport: Transport;

  constructor(parts: ImageServiceParts) {
    const { content, snapshotter, config, host, store } = parts;
    const clock = parts.clock ?? systemClock;
    const images = new ImageStore(store, clock);
    const leases = new Leases();
    const conversions = new LayerConversions(store, content);
    this.#parts = parts;
    this.#room = {
      images,
      content,
      leases,
      conversions,
      clock,
      unpacker: new Unpacker(content, snapshotter),
      garbage: new Garbage({
        images,
        content,
        snapshotter,
        leases,
        conversions,
        layerRemoved: parts.layerRemoved ?? (async () => {}),
      }),
      events: new ImageEvents(parts.events),
      processes: host.processes,
      platform: { os: "linux", architecture: host.facts.architecture },
    };
    this.#transport = new Transport(parts.timeouts ?? DEFAULT_TIMEOUTS);
    const client = new RegistryClient({
      endpoints: new Endpoints(config, new RegistryCertificates(parts.certificatesDirectory)),
      transport: this.#transport,
      policy: parts.retry ?? DEFAULT_RETRY,
      clock,
    });
    this.registry = new RegistryQueries(client);
    this.#puller = new Puller(this.#room, client, config.maxConcurrentDownloads);
    this.#pusher = new Pusher(this.#room, client, {
      maxConcurrentUploads: config.maxConcurrentUploads,
      chunkBytes: parts.uploadChunkBytes ?? DEFAULT_UPLOAD_CHUNK_BYTES,
    });
    this.#remover = new ImageRemover(this.#room, parts.users);
    this.#bootstrap = { host, transport: this.#transport, workDir: parts.workDir, etc: parts.etc ?? "/etc" };
    this.#sinks = new SinkLeases(leases, clock);
  }

  async recover(ctx: OpContext): Promise<void> {
    await mkdir(this.#parts.workDir, { recursive: true, mode: 0o711 });
    await removeBootstrapRemains(ctx, this.#bootstrap, await readdir(this.#parts.workDir));
    await this.#room.garbage.sweepLayers(ctx);
    await this.#room.garbage.sweepBlobs(ctx, STALE_DOWNLOAD_MS);
  }

  resolve(refOrId: string): ImageRecord {
    return this.#room.images.resolve(refOrId);
  }

  list(options: { readonly intermediate?: boolean } = {}): readonly ImageRecord[] {
    const all = this.#room.images.list();
    const parents = new Set(all.map(({ parentId }) => parentId));
    // As Docker: what has no name and only serves as another's parent is a detail.
    const isShown = ({ id, tags, repoDigests, intermediate }: ImageRecord) =>
      !intermediate && (tags.length > 0 || repoDigests.length > 0 || !parents.has(id));
    return all
      .filter((image) => options.intermediate === true || isShown(image))
      .toSorted((a, b) => (b.config.created ?? "").localeCompare(a.config.created ?? ""));
  }

  async pull(ctx: OpContext, request: Api.PullRequest, progress: ProgressSink): Promise<ImageRecord> {
    return await this.#puller.pull(ctx, await this.#withCredentials(ctx, request), progress);
  }

  async push(ctx: OpContext, request: Api.PushRequest, progress: ProgressSink): Promise<void> {
    await this.#pusher.push(ctx, await this.#withCredentials(ctx, request), progress);
  }

  async load(
    ctx: OpContext,
    archive: Readable,
    progress: ProgressSink,
    platform?: Platform,
  ): Promise<readonly ImageRecord[]> {
    return await loadImages(ctx, this.#room, archive, progress, platform);
  }

  async save(ctx: OpContext, refs: readonly string[], platform?: Platform): Promise<Readable> {
    return saveImages(ctx, this.#room, refs, platform);
  }

  async saveAs(ctx: OpContext, imageId: string, names: readonly string[]): Promise<Readable> {
    return await saveImageAs(ctx, this.#room, imageId, names);
  }

  async import(ctx: OpContext, request: Api.ImportRequest, progress: ProgressSink): Promise<ImageRecord> {
    return await importImage(ctx, this.#room, request, progress);
  }

  async bootstrap(ctx: OpContext, request: Api.BootstrapRequest, progress: ProgressSink): Promise<ImageRecord> {
    return await bootstrapImage(ctx, this.#room, this.#bootstrap, request, progress);
  }

  async tag(ctx: OpContext, refOrId: string, newRef: string): Promise<void> {
    const { images, events } = this.#room;
    ctx.signal.throwIfAborted();
    const image = images.resolve(refOrId);
    const reference = withDefaultTag(parseReference(newRef));
    if (reference.digest !== undefined) throw imageErrors.IMAGE_REFERENCED_BY_ID({ reference: newRef });
    events.tagged(images.name(image.id, { tag: formatReference(reference) }).image, reference);
  }

  async remove(
    ctx: OpContext,
    refOrId: string,
    options: { readonly force: boolean; readonly noPrune: boolean },
  ): Promise<readonly Api.RemovedImage[]> {
    return (await this.#remover.remove(ctx, refOrId, options)).removed;
  }

  async prune(ctx: OpContext, options: Api.PruneOptions): Promise<Api.PruneReport> {
    return await pruneImages(ctx, this.#room, this.#remover, this.#parts.users, options);
  }

  history(refOrId: string): readonly Api.ImageHistoryItem[] {
    return imageHistory(this.#room.images, this.resolve(refOrId));
  }

  async unpack(ctx: OpContext, image: ImageRecord, progress: ProgressSink = noProgress): Promise<string> {
    const chain = chainId(image.config.rootfs.diff_ids);
    // A layer stands on those below it: the top one is proof of all.
    if (chain === "" || (await this.#room.unpacker.has(chain))) return chain;
    using _lease = await this.#room.leases.hold(chainIds(image.config.rootfs.diff_ids));
    const unpacked = await this.#room.unpacker.image(ctx, image, (layer, current, total) =>
      progress({ id: layer.diffId, status: "Extracting", current, ...(total === undefined ? {} : { total }) }),
    );
    return unpacked.chainId;
  }

  async keep(imageId: string): Promise<Disposable> {
    return await this.#room.leases.hold([imageLease(imageId)]);
  }

  async create(ctx: OpContext, request: Api.CreateImageRequest): Promise<ImageRecord> {
    const { content, images, leases, events } = this.#room;
    const reference = request.reference === undefined ? undefined : withDefaultTag(parseReference(request.reference));
    const blobs = request.layers.map(({ blob }) => blob.digest);
    const held = [await leases.hold([...blobs, ...chainIds(request.config.rootfs.diff_ids)])];
    try {
      for (const digest of blobs) {
        if (!(await content.has(digest))) throw imageErrors.IMAGE_LAYER_MISSING({ image: "to be made", digest });
      }
      const assembled = await assembleImage(ctx, this.#room, request.config, request.layers, async (...digests) => {
        held.push(await leases.hold(digests));
      });
      // The last moment: whoever gave it up finds nothing later that was not there when they looked.
      ctx.signal.throwIfAborted();
      const { image } = images.put(
        {
          ...assembled,
          ...(request.parentId === undefined ? {} : { parentId: request.parentId }),
          intermediate: request.intermediate ?? false,
        },
        reference === undefined ? {} : { tag: formatReference(reference) },
      );
      this.#sinks.release(blobs);
      if (reference !== undefined) events.tagged(image, reference);
      return image;
    } finally {
      for (const lease of held) lease[Symbol.dispose]();
    }
  }

  async layerSink(ctx: OpContext): Promise<LayerSink> {
    return await ZstdLayerSink.open(ctx, this.#room.content, async (digest) => await this.#sinks.protect(digest));
  }

  async release(ctx: OpContext, instance: { readonly imageId: string; readonly chainId: string }): Promise<void> {
    const { images, garbage } = this.#room;
    if (images.get(instance.imageId) !== undefined) return;
    const chains: string[] = [];
    for (let at = instance.chainId; at !== ""; ) {
      const layer = await this.#parts.snapshotter.layer(at);
      if (layer === undefined) break;
      chains.unshift(at);
      at = layer.parent;
    }
    if (chains.length > 0) await garbage.collect(ctx, { blobs: [], chains });
  }

  async diskUsage(ctx: OpContext): Promise<Api.ImagesOnDisk> {
    return await measureImages(ctx, this.#room, this.#parts.snapshotter, this.#parts.users);
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  async #withCredentials<T extends { readonly reference: string; readonly auth?: Api.RegistryAuth }>(
    ctx: OpContext,
    request: T,
  ): Promise<T> {
    if (request.auth !== undefined || this.#parts.credentials === undefined) return request;
    const auth = await this.#parts.credentials(ctx, parseReference(request.reference).domain);
    return auth === undefined ? request : { ...request, auth };
  }
}
