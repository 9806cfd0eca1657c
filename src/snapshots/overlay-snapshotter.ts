import { statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { ConfinedRoots } from "../archive/confined-root.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/logger.ts";
import { cleanupContext, type OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import { mkdir, rename, rmdir } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import { chainIdOn } from "./chain-id.ts";
import { checkFileSystem } from "./check-file-system.ts";
import { packLayer, storeLayer } from "./commit-layer.ts";
import { snapshotErrors } from "./errors.ts";
import { LayerCatalog, type UnsyncedLayer } from "./layer-catalog.ts";
import { Layout } from "./layout.ts";
import { OverlayMounts } from "./overlay-mounts.ts";
import { copyRootAttributes, SnapshotCatalog } from "./snapshot-catalog.ts";
import type {
  ApplyLayerRequest,
  Change,
  CommittedLayer,
  CommitOptions,
  ImportLayerRequest,
  LayerInfo,
  LayerSink,
  MountOptions,
  PrepareOptions,
  Snapshotter,
  SnapshotView,
} from "./snapshotter.ts";
import { type SyncedLayers, SyncLater } from "./sync-later.ts";
import { upperChanges } from "./upper-changes.ts";

export interface OverlaySnapshotterOptions {
  /** Directory of its own, on a file system that overlayfs takes as an upper one. */
  readonly root: string;
  readonly host: Pick<Host, "kernel" | "processes" | "facts">;
  readonly roots: ConfinedRoots;
  readonly log: Logger;
}

/**
 * Layers and snapshots as directories, stacked by overlayfs.
 *
 * INVARIANTS
 *  - Files of a layer never change once it is published.
 *  - What a running operation builds on is pinned; what stands on a layer keeps it.
 *  - A crash leaves drafts, trash and views, which {@link OverlaySnapshotter.open} removes, and mounted snapshots, which it finds again.
 */
export class OverlaySnapshotter implements Snapshotter, AsyncDisposable {
  readonly name = "overlay";
  readonly #layout: Layout;
  readonly #layers: LayerCatalog;
  readonly #snapshots: SnapshotCatalog;
  readonly #mounts: OverlayMounts;
  readonly #kernel: Host["kernel"];
  readonly #roots: ConfinedRoots;
  readonly #sync: SyncLater;
  /** One operation at a time for each layer ("layer <chain id>") and snapshot ("snapshot <id>"). */
  readonly #locks = new KeyedMutex();
  /** Snapshots that are mounted. */
  readonly #mounted = new Set<string>();

  private constructor(options: OverlaySnapshotterOptions, layout: Layout) {
    this.#layout = layout;
    this.#layers = new LayerCatalog(layout, options.host.facts.bootId);
    this.#snapshots = new SnapshotCatalog(layout);
    this.#mounts = new OverlayMounts(options.host.kernel);
    this.#kernel = options.host.kernel;
    this.#roots = options.roots;
    const layers: SyncedLayers = {
      unsynced: () => this.#layers.unsynced(),
      settle: (ctx, synced) => this.#markSynced(ctx, synced),
    };
    this.#sync = new SyncLater(options.host.processes, layers, layout.root, options.log);
  }

  /** Opens what is under `root`, cleans up what a killed engine left half done, and finds the mounts that outlived it. */
  static async open(ctx: OpContext, options: OverlaySnapshotterOptions): Promise<OverlaySnapshotter> {
    const snapshotter = new OverlaySnapshotter(options, new Layout(options.root));
    await checkFileSystem(options.root);
    await snapshotter.#recover(ctx);
    return snapshotter;
  }

  async hasLayer(chainId: string): Promise<boolean> {
    return this.#layers.get(chainId) !== undefined;
  }

  async layer(chainId: string): Promise<LayerInfo | undefined> {
    return this.#layers.get(chainId);
  }

  async layers(): Promise<readonly LayerInfo[]> {
    return this.#layers.list();
  }

  async layersOnDisk(ctx: OpContext, chainIds: readonly string[]): Promise<readonly number[]> {
    const unknown = chainIds.filter((chainId) => this.#layers.onDisk(chainId)?.disk === undefined);
    const measured = await this.#measureLayers(ctx, unknown);
    for (const [chainId, disk] of measured) {
      using _lock = await this.#locks.acquire(`layer ${chainId}`);
      // One that is not synced yet may still get other blocks: the sync notes it.
      if (this.#layers.onDisk(chainId)?.synced === true) await this.#layers.setDisk(chainId, disk);
    }
    return chainIds.map((chainId) => measured.get(chainId) ?? this.#layers.onDisk(chainId)?.disk ?? 0);
  }

  async applyLayer(ctx: OpContext, request: ApplyLayerRequest): Promise<LayerInfo> {
    const { parent, diffId, blob } = request;
    const chainId = chainIdOn(parent, diffId);
    using _lock = await this.#locks.acquire(`layer ${chainId}`);
    const existing = this.#layers.get(chainId);
    if (existing !== undefined) return existing;
    using _pin = this.#layers.pin(parent);
    this.#layers.checkDepth(parent);
    await using reverter = new Reverter(ctx);
    const draft = await this.#layerDraft(reverter, parent);
    let size: number;
    {
      await using root = await this.#roots.open(ctx, join(draft, "fs"));
      const result = await root.extract(ctx, {
        source: { path: blob.path },
        compression: blob.compression,
        into: "/",
        semantics: "layer",
        maxBytes: request.maxBytes ?? (await freeBytes(draft)),
        ...(request.onProgress === undefined ? {} : { onProgress: request.onProgress }),
      });
      if (result.diffId !== diffId) {
        throw snapshotErrors.LAYER_DIGEST_MISMATCH({ expected: diffId, actual: result.diffId });
      }
      size = result.size;
    }
    const layer = await this.#layers.publish(draft, { chainId, parent, diffId, size });
    reverter.commit();
    this.#sync.request();
    return layer;
  }

  async removeLayer(_ctx: OpContext, chainId: string): Promise<void> {
    using _lock = await this.#locks.acquire(`layer ${chainId}`);
    await this.#layers.remove(chainId, (each) => this.#snapshots.on(each));
  }

  async prepare(_ctx: OpContext, id: string, parent: string, options: PrepareOptions = {}): Promise<void> {
    using _lock = await this.#locks.acquire(`snapshot ${id}`);
    using _pin = this.#layers.pin(parent);
    await this.#snapshots.create(id, parent, options.durable ?? true);
  }

  async mount(ctx: OpContext, id: string, options: MountOptions = {}): Promise<string> {
    using _lock = await this.#locks.acquire(`snapshot ${id}`);
    const { parent } = this.#snapshots.get(id);
    const { upper, work, merged } = this.#snapshots.paths(id);
    if (this.#mounted.has(id)) return merged;
    const lower = [...this.#lower(parent), ...(options.beneath === undefined ? [] : [options.beneath])];
    const directories = { base: this.#layout.layers, lower, upper: { upper, work } };
    await this.#mounts.mount(ctx, merged, directories, options.volatile ?? false);
    this.#mounted.add(id);
    return merged;
  }

  async unmount(ctx: OpContext, id: string): Promise<void> {
    using _lock = await this.#locks.acquire(`snapshot ${id}`);
    await this.#unmount(ctx, id);
  }

  async remove(ctx: OpContext, id: string): Promise<void> {
    using _lock = await this.#locks.acquire(`snapshot ${id}`);
    if (!this.#snapshots.has(id)) return;
    await this.#unmount(ctx, id);
    await this.#snapshots.remove(id);
  }

  async list(): Promise<readonly string[]> {
    return this.#snapshots.ids();
  }

  async view(ctx: OpContext, chainId: string): Promise<SnapshotView> {
    const pin = this.#layers.pin(chainId);
    await using reverter = new Reverter(ctx);
    reverter.add("unpin the layers", () => pin[Symbol.dispose]());
    const root = await this.#layout.newView();
    reverter.add("remove the mount point", () => rmdir(root));
    const lower = this.#lower(chainId);
    await this.#mounts.mount(ctx, root, { base: this.#layout.layers, lower }, false);
    reverter.commit();
    return {
      root,
      [Symbol.asyncDispose]: async () => {
        await this.#mounts.unmount(cleanupContext(ctx), root);
        await rmdir(root);
        pin[Symbol.dispose]();
      },
    };
  }

  async changes(ctx: OpContext, id: string): Promise<readonly Change[]> {
    const { parent } = this.#snapshots.get(id);
    using _pin = this.#layers.pin(parent);
    await using root = await this.#roots.open(ctx, this.#snapshots.paths(id).upper);
    return await upperChanges(await root.list(ctx, "/"), {
      directories: this.#layers.directories(parent),
      capability: async (path) =>
        Buffer.from((await this.#kernel.getXattr(path, "security.capability")) ?? []).toString("hex"),
    });
  }

  async diffTar(ctx: OpContext, id: string): Promise<Readable> {
    this.#snapshots.get(id);
    const root = await this.#roots.open(ctx, this.#snapshots.paths(id).upper);
    try {
      const tar = await root.pack(ctx, { path: "/", rename: "", semantics: "layer" });
      tar.once("close", () => void root[Symbol.asyncDispose]());
      return tar;
    } catch (error) {
      await root[Symbol.asyncDispose]();
      throw error;
    }
  }

  async commit(ctx: OpContext, id: string, sink: LayerSink, options: CommitOptions = {}): Promise<CommittedLayer> {
    using _lock = await this.#locks.acquire(`snapshot ${id}`);
    const { parent } = this.#snapshots.get(id);
    using _pin = this.#layers.pin(parent);
    this.#layers.checkDepth(parent);
    const consume = options.consume ?? false;
    // Its upper directory becomes the layer's: nothing may write to it any more.
    if (consume) await this.#unmount(ctx, id);
    await using reverter = new Reverter(ctx);
    const draft = await this.#layerDraft(reverter, parent);
    const fs = join(draft, "fs");
    const { upper } = this.#snapshots.paths(id);
    const { diffId, size, blob } = await packLayer(ctx, this.#roots, upper, sink, consume ? undefined : fs);
    const chainId = chainIdOn(parent, diffId);
    using _layerLock = await this.#locks.acquire(`layer ${chainId}`);
    const existing = this.#layers.get(chainId);
    if (existing === undefined) {
      if (consume) {
        await rmdir(fs);
        await rename(upper, fs);
        await copyRootAttributes(this.#top(parent), fs);
      }
      await this.#layers.publish(draft, { chainId, parent, diffId, size });
      reverter.commit();
      this.#sync.request();
    }
    if (consume) await this.#snapshots.remove(id);
    return { chainId, parent, diffId, size, blob };
  }

  async importLayer(ctx: OpContext, { parent, tar, sink }: ImportLayerRequest): Promise<CommittedLayer> {
    using _pin = this.#layers.pin(parent);
    this.#layers.checkDepth(parent);
    await using reverter = new Reverter(ctx);
    const draft = await this.#layerDraft(reverter, parent);
    const request = { tar, maxBytes: await freeBytes(draft), sink, copy: join(draft, "fs") };
    const { diffId, size, blob } = await storeLayer(ctx, this.#roots, request);
    const chainId = chainIdOn(parent, diffId);
    using _lock = await this.#locks.acquire(`layer ${chainId}`);
    if (this.#layers.get(chainId) === undefined) {
      await this.#layers.publish(draft, { chainId, parent, diffId, size });
      reverter.commit();
      this.#sync.request();
    }
    return { chainId, parent, diffId, size, blob };
  }

  async usage(ctx: OpContext, id: string): Promise<number> {
    this.#snapshots.get(id);
    try {
      await using root = await this.#roots.open(ctx, this.#snapshots.paths(id).upper);
      const files = new Map<string, number>();
      for (const { kind, identity, size } of await root.list(ctx, "/")) {
        if (kind === "file" || kind === "symlink") files.set(identity, size);
      }
      return [...files.values()].reduce((sum, size) => sum + size, 0);
    } catch (error) {
      this.#snapshots.get(id); // Removed meanwhile: that is what there is to tell.
      throw error;
    }
  }

  async diskUsage(ctx: OpContext, ids: readonly string[]): Promise<readonly number[]> {
    return await this.#measure(ctx, this.#layout.active, ids);
  }

  /** Waits until published layers are on the disk. Mounts stay: instances may be running on them. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sync.flush();
  }

  /** Notes it of each, with what it takes on the disk from now on. */
  async #markSynced(ctx: OpContext, layers: readonly UnsyncedLayer[]): Promise<void> {
    const sizes = await this.#measureLayers(
      ctx,
      layers.map(({ record }) => record.chainId),
    );
    for (const layer of layers) {
      const { chainId } = layer.record;
      using _lock = await this.#locks.acquire(`layer ${chainId}`);
      const disk = sizes.get(chainId);
      if (disk !== undefined) await this.#layers.markSynced(layer, disk);
    }
  }

  async #measureLayers(ctx: OpContext, chainIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const found = chainIds.flatMap((chainId) => {
      const layer = this.#layers.onDisk(chainId);
      return layer === undefined ? [] : [{ chainId, short: layer.short }];
    });
    const sizes = await this.#measure(
      ctx,
      this.#layout.layers,
      found.map(({ short }) => short),
    );
    return new Map(found.map(({ chainId }, index) => [chainId, sizes[index] ?? 0]));
  }

  async #measure(ctx: OpContext, directory: string, names: readonly string[]): Promise<readonly number[]> {
    if (names.length === 0) return [];
    await using root = await this.#roots.open(ctx, directory);
    return await root.diskUsage(ctx, names);
  }

  async #recover(ctx: OpContext): Promise<void> {
    for (const target of (await this.#mounts.targets(this.#layout.views)).toReversed()) {
      await this.#mounts.unmount(ctx, target);
    }
    await this.#layers.load(ctx);
    await this.#snapshots.load(ctx);
    const mounted = new Set(await this.#mounts.targets(this.#layout.active));
    for (const id of this.#snapshots.ids()) if (mounted.has(this.#snapshots.paths(id).merged)) this.#mounted.add(id);
    await this.#layout.clearLeftovers();
    if (this.#layers.unsynced().length > 0) this.#sync.request();
  }

  /** A draft with an empty `fs` that has the root attributes of `parent`. */
  async #layerDraft(reverter: Reverter, parent: string): Promise<string> {
    const draft = await this.#layout.newDraft();
    reverter.add("remove the layer's draft", () => this.#layout.discard(draft));
    const fs = join(draft, "fs");
    await mkdir(fs, { mode: 0o755 });
    await copyRootAttributes(this.#top(parent), fs);
    return draft;
  }

  async #unmount(ctx: OpContext, id: string): Promise<void> {
    if (!this.#mounted.has(id)) return;
    await this.#mounts.unmount(ctx, this.#snapshots.paths(id).merged);
    this.#mounted.delete(id);
  }

  /** What `parent` consists of, topmost first; overlayfs wants at least one directory. */
  #lower(parent: string): readonly string[] {
    return parent === "" ? [this.#layout.empty] : this.#layers.stack(parent);
  }

  #top(parent: string): string {
    return this.#layers.directories(parent)[0] ?? this.#layout.empty;
  }
}

/** Bytes that may still be written to the file system that holds `path`. */
async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
