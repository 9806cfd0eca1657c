/** The layers on disk, by chain id: `layers/<short>/{fs,meta.json}`. Kept in memory; who uses what is counted here. */
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import type { OpContext } from "../base/op-context.ts";
import { rename } from "../host/files.ts";
import { snapshotErrors } from "./errors.ts";
import { type Layout, readMeta, syncDirectory, writeMeta } from "./layout.ts";
import type { LayerInfo } from "./snapshotter.ts";

const LayerRecord = Type.Object({
  version: Type.Literal(1),
  chainId: Type.String(),
  parent: Type.String(),
  diffId: Type.String(),
  size: Type.Integer(),
  /** Bytes on disk, once they were measured: after the sync, when the file system has its blocks. */
  disk: Type.Optional(Type.Integer()),
  /** Boot in which its files were written, until they are known to be on the disk; then "". */
  unsyncedBoot: Type.String(),
});
type LayerRecord = Static<typeof LayerRecord>;

interface Layer {
  readonly record: LayerRecord;
  /** Directory under `layers`. */
  readonly short: string;
}

/** One publication of a layer, to be told to {@link LayerCatalog.markSynced}. */
export interface UnsyncedLayer {
  readonly record: { readonly chainId: string };
}

/** As Docker: overlayfs itself takes 500. */
const MAX_DEPTH = 125;

export class LayerCatalog {
  readonly #layout: Layout;
  readonly #bootId: string;
  readonly #layers = new Map<string, Layer>();
  /** Running operations and views that need a layer to stay, by chain id. */
  readonly #pins = new Map<string, number>();

  constructor(layout: Layout, bootId: string) {
    this.#layout = layout;
    this.#bootId = bootId;
  }

  /**
   * Reads what is on disk. Dropped are layers without a readable record, those whose files may not have reached the disk
   * before the machine went down, and those on top of such.
   */
  async load(ctx: OpContext): Promise<void> {
    const found = new Map<string, Layer>();
    for (const short of await readdir(this.#layout.layers)) {
      const record = await readMeta(join(this.#layout.layers, short));
      const lost = Value.Check(LayerRecord, record) && !["", this.#bootId].includes(record.unsyncedBoot);
      if (Value.Check(LayerRecord, record) && !lost) {
        found.set(record.chainId, { record, short });
      } else {
        ctx.log.warn({ layer: short, lost }, "dropping a layer that is damaged or did not reach the disk");
        await this.#layout.discard(join(this.#layout.layers, short));
      }
    }
    const complete = (layer: Layer): boolean => {
      if (layer.record.parent === "") return true;
      const parent = found.get(layer.record.parent);
      return parent !== undefined && complete(parent);
    };
    for (const layer of found.values()) {
      if (complete(layer)) this.#layers.set(layer.record.chainId, layer);
      else await this.#layout.discard(join(this.#layout.layers, layer.short));
    }
  }

  get(chainId: string): LayerInfo | undefined {
    const layer = this.#layers.get(chainId);
    return layer === undefined ? undefined : info(layer.record);
  }

  list(): readonly LayerInfo[] {
    return [...this.#layers.values()].map(({ record }) => info(record));
  }

  /** Paths of a stack's directories relative to `layers`, topmost first. `LAYER_NOT_FOUND`. */
  stack(chainId: string): readonly string[] {
    const stack: string[] = [];
    for (let at = chainId; at !== ""; ) {
      const layer = this.#layers.get(at);
      if (layer === undefined) throw snapshotErrors.LAYER_NOT_FOUND({ chainId: at });
      stack.push(`${layer.short}/fs`);
      at = layer.record.parent;
    }
    return stack;
  }

  /** Absolute paths of a stack's directories, topmost first. */
  directories(chainId: string): readonly string[] {
    return this.stack(chainId).map((path) => join(this.#layout.layers, path));
  }

  /** Keeps a stack from being removed until disposed. `LAYER_NOT_FOUND` unless all of it is there. */
  pin(chainId: string): Disposable {
    this.stack(chainId);
    this.#pins.set(chainId, (this.#pins.get(chainId) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const left = (this.#pins.get(chainId) ?? 1) - 1;
        if (left === 0) this.#pins.delete(chainId);
        else this.#pins.set(chainId, left);
      },
    };
  }

  /** `LAYER_STACK_TOO_DEEP` when no layer fits on `parent`. */
  checkDepth(parent: string): void {
    const depth = this.stack(parent).length + 1;
    if (depth > MAX_DEPTH) throw snapshotErrors.LAYER_STACK_TOO_DEEP({ depth, limit: MAX_DEPTH });
  }

  /** Gives the draft (which holds `fs`) its record and its place. */
  async publish(draft: string, layer: LayerInfo): Promise<LayerInfo> {
    const record: LayerRecord = { version: 1, ...layer, unsyncedBoot: this.#bootId };
    await writeMeta(draft, record);
    const short = await this.#freeName(layer.chainId);
    await rename(draft, join(this.#layout.layers, short));
    await syncDirectory(this.#layout.layers);
    this.#layers.set(layer.chainId, { record, short });
    return layer;
  }

  /** `LAYER_IN_USE` while a layer, a running operation or one of `snapshotParents` stands on it. Missing is no error. */
  async remove(chainId: string, snapshotOn: (chainId: string) => string | undefined): Promise<void> {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) return;
    const child = this.list().find(({ parent }) => parent === chainId);
    const snapshot = snapshotOn(chainId);
    if (child !== undefined) throw snapshotErrors.LAYER_IN_USE({ chainId, user: `layer ${child.chainId}` });
    if (snapshot !== undefined) throw snapshotErrors.LAYER_IN_USE({ chainId, user: `snapshot ${snapshot}` });
    if (this.#pins.has(chainId)) throw snapshotErrors.LAYER_IN_USE({ chainId, user: "a running operation" });
    this.#layers.delete(chainId);
    await this.#layout.discard(join(this.#layout.layers, layer.short));
  }

  /** Layers whose files may still be in memory only. */
  unsynced(): readonly UnsyncedLayer[] {
    return [...this.#layers.values()].filter(({ record }) => record.unsyncedBoot !== "");
  }

  /** What is known of a layer's size on disk, and where it lies; undefined when there is no such layer. */
  onDisk(
    chainId: string,
  ): { readonly short: string; readonly disk: number | undefined; readonly synced: boolean } | undefined {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) return undefined;
    return { short: layer.short, disk: layer.record.disk, synced: layer.record.unsyncedBoot === "" };
  }

  /** Notes the size on disk of a synced layer, which the caller keeps from being removed. */
  async setDisk(chainId: string, disk: number): Promise<void> {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) return;
    const record = { ...layer.record, disk };
    await writeMeta(join(this.#layout.layers, layer.short), record);
    this.#layers.set(chainId, { ...layer, record });
  }

  /**
   * The file system was synced since `layer` was published; what it takes there is now final. Nothing is done to one that was removed
   * meanwhile, or removed and published anew: that one may still be in memory only. The caller keeps it from being removed.
   */
  async markSynced(layer: UnsyncedLayer, disk: number): Promise<void> {
    const { chainId } = layer.record;
    const now = this.#layers.get(chainId);
    if (now !== layer) return;
    const record = { ...now.record, disk, unsyncedBoot: "" };
    await writeMeta(join(this.#layout.layers, now.short), record);
    this.#layers.set(chainId, { ...now, record });
  }

  /**
   * Eight hex digits of the chain id, short so that 125 layers fit into mount(2)'s page of options; the next eight when
   * those are taken.
   */
  async #freeName(chainId: string): Promise<string> {
    const hex = chainId.replace(/^sha256:/, "");
    for (let at = 0; ; at++) {
      const name = hex.slice(at, at + 8);
      const taken = await lstat(join(this.#layout.layers, name)).catch(() => undefined);
      if (taken === undefined) return name;
    }
  }
}

function info(record: LayerRecord): LayerInfo {
  const { chainId, parent, diffId, size } = record;
  return { chainId, parent, diffId, size };
}
