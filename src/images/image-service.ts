/** Images as the rest of the engine sees them. `store.ts`, `pull.ts`, `push.ts`, ... implement it. */
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { LayerSink } from "../snapshots/snapshotter.ts";
import type { HistoryEntry, ImageConfig, ImageRecord, Platform } from "../schema/image.ts";

export interface ImageService {
  /** By reference, id, or unambiguous id prefix (at least 4 digits). `IMAGE_NOT_FOUND`, `IMAGE_ID_AMBIGUOUS`. */
  resolve(refOrId: string): ImageRecord;
  list(options?: { readonly intermediate?: boolean }): readonly ImageRecord[];
  pull(ctx: OpContext, request: PullRequest, progress: ProgressSink): Promise<ImageRecord>;
  push(ctx: OpContext, request: PushRequest, progress: ProgressSink): Promise<void>;
  /** docker-archive or OCI layout, plain or compressed. */
  load(ctx: OpContext, archive: Readable, progress: ProgressSink, platform?: Platform): Promise<readonly ImageRecord[]>;
  /** docker-archive that is an OCI layout as well, as `docker save` writes. */
  save(ctx: OpContext, refs: readonly string[], platform?: Platform): Promise<Readable>;
  /** The same of one image, under these names and no others, whatever it is called here. */
  saveAs(ctx: OpContext, imageId: string, names: readonly string[]): Promise<Readable>;
  /** A root file system's tar as a new image of one layer. */
  import(ctx: OpContext, request: ImportRequest, progress: ProgressSink): Promise<ImageRecord>;
  /** A base image from the distribution's mirror, with the host's apt sources and trust. */
  bootstrap(ctx: OpContext, request: BootstrapRequest, progress: ProgressSink): Promise<ImageRecord>;
  tag(ctx: OpContext, refOrId: string, newRef: string): Promise<void>;
  /** Untags, and deletes the image with its last tag. `IMAGE_IN_USE` (409) when an instance uses it and not `force`. */
  remove(
    ctx: OpContext,
    refOrId: string,
    options: { readonly force: boolean; readonly noPrune: boolean },
  ): Promise<readonly RemovedImage[]>;
  /** Dangling images, or every unused one with `all`; filters as Docker's ("until", "label", "label!"). */
  prune(ctx: OpContext, options: PruneOptions): Promise<PruneReport>;
  history(refOrId: string): readonly ImageHistoryItem[];
  /** Until disposed, the image can neither be removed nor pruned: a build stands on it. */
  keep(imageId: string): Promise<Disposable>;
  /** Makes sure that every layer is unpacked; returns the topmost chain id ("" for scratch). */
  unpack(ctx: OpContext, image: ImageRecord, progress?: ProgressSink): Promise<string>;
  /** Registers a locally made image whose layer blobs are already stored: commit and build. */
  create(ctx: OpContext, request: CreateImageRequest): Promise<ImageRecord>;
  /** Blob sink for {@link Snapshotter.commit}, with Berth's compression for local layers. */
  layerSink(ctx: OpContext): Promise<LayerSink>;
  /** An instance is gone, that may have been the last to need its image's layers: removes those that no image has any more. */
  release(ctx: OpContext, instance: { readonly imageId: string; readonly chainId: string }): Promise<void>;
  diskUsage(ctx: OpContext): Promise<ImagesOnDisk>;
}

/** Bytes on disk, as du(1) counts them, of layers and blobs. What several images have is counted once. */
export interface ImagesOnDisk {
  /** Everything: images and build cache. */
  readonly total: number;
  readonly imagesSize: number;
  /** What a prune of all unused images would give back, with their build cache. */
  readonly imagesReclaimable: number;
  /** By image id, all but intermediate ones. */
  readonly images: ReadonlyMap<string, ImageOnDisk>;
  /** What only steps of builds have. */
  readonly cacheSize: number;
  readonly cacheReclaimable: number;
  readonly cache: readonly CacheOnDisk[];
}

export interface ImageOnDisk {
  readonly size: number;
  /** The part that other images have as well. */
  readonly shared: number;
}

/** A step of a build. */
export interface CacheOnDisk {
  readonly imageId: string;
  /** Without what the steps before it made. */
  readonly size: number;
  /** All of it belongs to images. */
  readonly shared: boolean;
  readonly inUse: boolean;
}

/** As the client sends it in X-Registry-Auth, or read from Docker's configuration file and credential helpers. */
export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
  readonly serverAddress?: string;
}

export interface PullRequest {
  readonly reference: string;
  readonly platform?: Platform;
  readonly auth?: RegistryAuth;
  /** Every tag of the repository; the result is the last one pulled. */
  readonly allTags?: boolean;
}

export interface PushRequest {
  readonly reference: string;
  /** Every tag of the repository that is here. */
  readonly allTags?: boolean;
  readonly auth?: RegistryAuth;
}

export interface ImportRequest {
  readonly tar: Readable;
  readonly reference?: string;
  readonly message?: string;
  /** Dockerfile instructions (`docker import --change`): CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ... */
  readonly changes: readonly string[];
  readonly platform?: Platform;
}

export interface BootstrapRequest {
  /** "debian:bookworm", "ubuntu:24.04"; the suite is the tag or the release's code name. */
  readonly reference: string;
  /** Tag it as this instead (a stand-in: `--as ubuntu:18.04`). */
  readonly as?: string;
  /** Extra packages. */
  readonly include?: readonly string[];
  /** Mirror to use instead of the host's. */
  readonly mirror?: string;
}

export interface CreateImageRequest {
  readonly config: ImageConfig;
  /** Bottom to top; as many as `config.rootfs.diff_ids`. */
  readonly layers: ImageRecord["layers"];
  readonly parentId?: string;
  readonly reference?: string;
  readonly intermediate?: boolean;
}

export type RemovedImage = { readonly untagged: string } | { readonly deleted: string };

export interface PruneOptions {
  readonly all: boolean;
  readonly filters: Readonly<Record<string, readonly string[]>>;
}

export interface PruneReport {
  readonly deleted: readonly RemovedImage[];
  readonly reclaimedBytes: number;
}

export interface ImageHistoryItem extends HistoryEntry {
  /** Image id, or "<missing>". */
  readonly id: string;
  readonly size: number;
  readonly tags: readonly string[];
}

/** Says which images instances hold, so that the image room need not know instances. The composition root wires it. */
export type ImageUsers = (imageId: string) => readonly { readonly instanceId: string; readonly running: boolean }[];
