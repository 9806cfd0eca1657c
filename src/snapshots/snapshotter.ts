/**
 * Root file systems: read-only layers stacked by chain id, and writable snapshots on top of them.
 *
 * A chain id (image-spec config.md, "Layer ChainID") names a stack of layers; "" is the empty stack (scratch).
 */
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";

export interface Snapshotter {
  readonly name: string;
  hasLayer(chainId: string): Promise<boolean>;
  /** Unpacks a layer's tar stream onto `parent`. Publishes atomically; safe when two callers unpack the same one. */
  applyLayer(ctx: OpContext, request: ApplyLayerRequest): Promise<LayerInfo>;
  layer(chainId: string): Promise<LayerInfo | undefined>;
  layers(): Promise<readonly LayerInfo[]>;
  /** Bytes on disk of each layer, as du(1) counts; 0 for one that is not there. Measured once for each: layers never change. */
  layersOnDisk(ctx: OpContext, chainIds: readonly string[]): Promise<readonly number[]>;
  /** `LAYER_IN_USE` while a layer or snapshot stands on it. */
  removeLayer(ctx: OpContext, chainId: string): Promise<void>;

  /** Makes the writable snapshot `id` on top of `parent`. */
  prepare(ctx: OpContext, id: string, parent: string, options?: PrepareOptions): Promise<void>;
  /** Mounts it (no error when it already is) and returns the root directory. */
  mount(ctx: OpContext, id: string, options?: MountOptions): Promise<string>;
  unmount(ctx: OpContext, id: string): Promise<void>;
  /** Unmounts and removes. Missing is no error. */
  remove(ctx: OpContext, id: string): Promise<void>;
  /** Ids of all snapshots, for recovery. */
  list(): Promise<readonly string[]>;
  /** A read-only view of a stack, unmounted when disposed. */
  view(ctx: OpContext, chainId: string): Promise<SnapshotView>;

  /** What the snapshot changed against its parent, in path order (`docker diff`). */
  changes(ctx: OpContext, id: string): Promise<readonly Change[]>;
  /** The changes as an OCI layer: an uncompressed tar with whiteouts, deterministic. */
  diffTar(ctx: OpContext, id: string): Promise<Readable>;
  /**
   * Turns what the snapshot `id` changed into a layer on its parent: writes the (compressed) blob through `sink`, publishes the
   * layer without unpacking it again. The snapshot stays usable, unless it is consumed. Pause or stop its writers first.
   */
  commit(ctx: OpContext, id: string, sink: LayerSink, options?: CommitOptions): Promise<CommittedLayer>;
  /** The same with a layer's tar that comes from elsewhere and may be anybody's: refused as {@link applyLayer} refuses one. */
  importLayer(ctx: OpContext, request: ImportLayerRequest): Promise<CommittedLayer>;
  /** Bytes of the files that the snapshot itself holds, as Docker counts a container's size. */
  usage(ctx: OpContext, id: string): Promise<number>;
  /** Bytes on disk of each snapshot, as du(1) counts; 0 for one that is not there. */
  diskUsage(ctx: OpContext, ids: readonly string[]): Promise<readonly number[]>;
}

export interface PrepareOptions {
  /** Whether a power cut may not take it; true unless said otherwise. */
  readonly durable?: boolean;
}

export interface MountOptions {
  /** Skips syncs: for throw-away snapshots only. */
  readonly volatile?: boolean;
  /**
   * A directory seen beneath all layers where they have nothing: mount points that are to be there without being one of the
   * snapshot's changes. A snapshotter without such a means leaves it out.
   */
  readonly beneath?: string;
}

export interface ApplyLayerRequest {
  readonly parent: string;
  /** Expected digest of the uncompressed tar; a mismatch is `LAYER_DIGEST_MISMATCH` and leaves nothing. */
  readonly diffId: string;
  /** Path of the blob and how it is compressed. */
  readonly blob: { readonly path: string; readonly compression: "none" | "gzip" | "zstd" };
  /** Uncompressed bytes, at most; beyond it the layer is refused as a decompression bomb. */
  readonly maxBytes?: number;
  /** Called with compressed bytes read so far. */
  readonly onProgress?: (bytesRead: number) => void;
}

export interface ImportLayerRequest {
  readonly parent: string;
  /** Not compressed. */
  readonly tar: Readable;
  readonly sink: LayerSink;
}

export interface LayerInfo {
  readonly chainId: string;
  readonly parent: string;
  readonly diffId: string;
  /** Bytes of its files and of the targets of its symbolic links, as Docker counts an image's size. */
  readonly size: number;
}

export interface SnapshotView extends AsyncDisposable {
  readonly root: string;
}

export interface Change {
  readonly kind: "modified" | "added" | "deleted";
  /** Absolute inside the root. */
  readonly path: string;
}

export interface CommitOptions {
  /** The snapshot becomes the layer, without a copy, and is gone afterwards (`remove` of it is no error). For stopped ones only. */
  readonly consume?: boolean;
}

/** Receives a committed layer's uncompressed tar, and compresses it. Disposing one that was not finished throws away what was written. */
export interface LayerSink extends AsyncDisposable {
  write(chunk: Uint8Array): Promise<void>;
  finish(): Promise<{ readonly digest: string; readonly size: number; readonly mediaType: string }>;
}

export interface CommittedLayer extends LayerInfo {
  readonly blob: { readonly digest: string; readonly size: number; readonly mediaType: string };
}
