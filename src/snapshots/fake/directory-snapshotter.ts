/**
 * {@link Snapshotter} by whole copies under a temporary directory: needs no root and no mounts, and its results are those of the real
 * one. Slow with large trees.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { ConfinedRoots, ExtractRequest, ListedFile } from "../../archive/confined-root.ts";
import { InProcessRoots } from "../../archive/fake/in-process-roots.ts";
import { tarOf } from "../../archive/fake/tar-builder.ts";
import { END_OF_ARCHIVE } from "../../archive/tar-writer.ts";
import { createDecompressor } from "../../archive/compression.ts";
import type { OpContext } from "../../base/op-context.ts";
import { chainIdOn } from "../chain-id.ts";
import { snapshotErrors } from "../errors.ts";
import { LayerMeter } from "../layer-meter.ts";
import type {
  ApplyLayerRequest,
  Change,
  CommitOptions,
  ImportLayerRequest,
  CommittedLayer,
  LayerInfo,
  LayerSink,
  Snapshotter,
  SnapshotView,
} from "../snapshotter.ts";
import { applyLayerTar } from "./apply-layer-tar.ts";

export class DirectorySnapshotter implements Snapshotter, AsyncDisposable {
  readonly name = "directory";
  readonly root: string;
  readonly roots: ConfinedRoots;
  readonly #layers = new Map<string, LayerInfo & { readonly directory: string }>();
  readonly #snapshots = new Map<string, string>();
  readonly #mounted = new Set<string>();
  readonly #views = new Map<string, number>();
  #next = 0;

  private constructor(root: string, roots: ConfinedRoots) {
    this.root = root;
    this.roots = roots;
  }

  /** `roots` must be the ones that the files are made with, since they may keep owners and devices in memory. */
  static async create(roots: ConfinedRoots = new InProcessRoots()): Promise<DirectorySnapshotter> {
    return new DirectorySnapshotter(await mkdtemp(join(tmpdir(), "berth-snapshots-")), roots);
  }

  /** Ids that are mounted now. */
  get mounted(): readonly string[] {
    return [...this.#mounted];
  }

  async hasLayer(chainId: string): Promise<boolean> {
    return this.#layers.has(chainId);
  }

  async layer(chainId: string): Promise<LayerInfo | undefined> {
    return (await this.layers()).find((layer) => layer.chainId === chainId);
  }

  async layers(): Promise<readonly LayerInfo[]> {
    return [...this.#layers.values()].map(({ directory: _directory, ...info }) => info);
  }

  async applyLayer(ctx: OpContext, request: ApplyLayerRequest): Promise<LayerInfo> {
    const { parent, diffId } = request;
    const chainId = chainIdOn(parent, diffId);
    const existing = await this.layer(chainId);
    if (existing !== undefined) return existing;
    this.#parentDirectory(parent);
    const tar = await this.#checkedTar(ctx, request);
    request.onProgress?.(tar.length);
    const actual = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
    if (actual !== diffId) throw snapshotErrors.LAYER_DIGEST_MISMATCH({ expected: diffId, actual });
    const meter = new LayerMeter();
    meter.feed(tar);
    return await this.#publish(ctx, { chainId, parent, ...meter.finish() }, tar);
  }

  async removeLayer(_ctx: OpContext, chainId: string): Promise<void> {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) return;
    const child = [...this.#layers.values()].find(({ parent }) => parent === chainId);
    if (child !== undefined) throw snapshotErrors.LAYER_IN_USE({ chainId, user: `layer ${child.chainId}` });
    const snapshot = [...this.#snapshots].find(([, parent]) => parent === chainId)?.[0];
    if (snapshot !== undefined) throw snapshotErrors.LAYER_IN_USE({ chainId, user: `snapshot ${snapshot}` });
    if (this.#views.has(chainId)) throw snapshotErrors.LAYER_IN_USE({ chainId, user: "a running operation" });
    this.#layers.delete(chainId);
    await rm(layer.directory, { recursive: true, force: true });
  }

  async prepare(ctx: OpContext, id: string, parent: string): Promise<void> {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(id)) throw snapshotErrors.SNAPSHOT_ID_INVALID({ id });
    if (this.#snapshots.has(id)) throw snapshotErrors.SNAPSHOT_EXISTS({ id });
    this.#parentDirectory(parent);
    this.#snapshots.set(id, parent);
    await this.#copy(ctx, parent, this.#directory(id));
  }

  async mount(_ctx: OpContext, id: string): Promise<string> {
    this.#parent(id);
    this.#mounted.add(id);
    return this.#directory(id);
  }

  async unmount(_ctx: OpContext, id: string): Promise<void> {
    this.#mounted.delete(id);
  }

  async remove(_ctx: OpContext, id: string): Promise<void> {
    this.#mounted.delete(id);
    if (this.#snapshots.delete(id)) await rm(this.#directory(id), { recursive: true, force: true });
  }

  async list(): Promise<readonly string[]> {
    return [...this.#snapshots.keys()];
  }

  async view(ctx: OpContext, chainId: string): Promise<SnapshotView> {
    this.#parentDirectory(chainId);
    const root = join(this.root, `view-${this.#next++}`);
    this.#views.set(chainId, (this.#views.get(chainId) ?? 0) + 1);
    await this.#copy(ctx, chainId, root);
    return {
      root,
      [Symbol.asyncDispose]: async () => {
        const left = (this.#views.get(chainId) ?? 1) - 1;
        if (left === 0) this.#views.delete(chainId);
        else this.#views.set(chainId, left);
        await rm(root, { recursive: true, force: true });
      },
    };
  }

  async changes(ctx: OpContext, id: string): Promise<readonly Change[]> {
    const before = new Map((await this.#listParent(ctx, this.#parent(id))).map((file) => [file.path, file]));
    const after = new Map((await this.#list(ctx, this.#directory(id))).map((file) => [file.path, file]));
    const changes = new Map<string, Change["kind"]>();
    const note = (path: string, kind: Change["kind"]) => {
      changes.set(path, kind);
      for (let parent = dirOf(path); parent !== "" && !changes.has(parent); parent = dirOf(parent)) {
        changes.set(parent, "modified");
      }
    };
    for (const [path, file] of after) {
      const old = before.get(path);
      if (old === undefined) note(path, "added");
      else if (differs(file, old)) note(path, "modified");
    }
    for (const path of before.keys()) {
      const parent = after.get(dirOf(path));
      if (!after.has(path) && (parent?.kind === "directory" || dirOf(path) === "")) note(path, "deleted");
    }
    return [...changes].map(([path, kind]) => ({ kind, path: `/${path}` })).sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async diffTar(ctx: OpContext, id: string): Promise<Readable> {
    const changes = await this.changes(ctx, id);
    const changed = new Set(changes.map(({ path }) => path.slice(1)));
    await using root = await this.roots.open(ctx, this.#directory(id));
    const exclude = (await root.list(ctx, "/")).map(({ path }) => path).filter((path) => !changed.has(path));
    const packed = await buffer(await root.pack(ctx, { path: "/", rename: "", semantics: "layer", exclude }));
    const whiteouts = changes
      .filter(({ kind }) => kind === "deleted")
      .map(({ path }) => {
        const at = path.lastIndexOf("/") + 1;
        return { name: `${path.slice(1, at)}.wh.${path.slice(at)}`, mode: 0o600 };
      });
    return Readable.from([packed.subarray(0, -END_OF_ARCHIVE.length), tarOf(...whiteouts)]);
  }

  async commit(ctx: OpContext, id: string, sink: LayerSink, options: CommitOptions = {}): Promise<CommittedLayer> {
    const parent = this.#parent(id);
    const tar = await buffer(await this.diffTar(ctx, id));
    const meter = new LayerMeter();
    meter.feed(tar);
    const { diffId, size } = meter.finish();
    await sink.write(tar);
    const blob = await sink.finish();
    const chainId = chainIdOn(parent, diffId);
    const layer = (await this.layer(chainId)) ?? (await this.#publish(ctx, { chainId, parent, diffId, size }, tar));
    if (options.consume === true) await this.remove(ctx, id);
    return { ...layer, blob };
  }

  async importLayer(ctx: OpContext, { parent, tar, sink }: ImportLayerRequest): Promise<CommittedLayer> {
    const bytes = await buffer(tar);
    await this.#dryRun(ctx, { source: { stream: Readable.from([bytes]) }, compression: "none" });
    const meter = new LayerMeter();
    meter.feed(bytes);
    const { diffId, size } = meter.finish();
    const chainId = chainIdOn(parent, diffId);
    const layer = (await this.layer(chainId)) ?? (await this.#publish(ctx, { chainId, parent, diffId, size }, bytes));
    await sink.write(bytes);
    return { ...layer, blob: await sink.finish() };
  }

  async usage(ctx: OpContext, id: string): Promise<number> {
    const changes = new Map((await this.changes(ctx, id)).map(({ path, kind }) => [path.slice(1), kind]));
    const sizes = new Map<string, number>();
    for (const { path, kind, size, identity } of await this.#list(ctx, this.#directory(id))) {
      if ((kind === "file" || kind === "symlink") && changes.has(path)) sizes.set(identity, size);
    }
    return [...sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  async layersOnDisk(ctx: OpContext, chainIds: readonly string[]): Promise<readonly number[]> {
    return await this.#measure(
      ctx,
      chainIds.map((chainId) => this.#layers.get(chainId)?.directory),
    );
  }

  async diskUsage(ctx: OpContext, ids: readonly string[]): Promise<readonly number[]> {
    return await this.#measure(
      ctx,
      ids.map((id) => (this.#snapshots.has(id) ? this.#directory(id) : undefined)),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }

  async #measure(ctx: OpContext, directories: readonly (string | undefined)[]): Promise<readonly number[]> {
    await using root = await this.roots.open(ctx, this.root);
    return await root.diskUsage(
      ctx,
      directories.map((directory) => (directory === undefined ? "missing" : relative(this.root, directory))),
    );
  }

  /** The layer's plain tar, after a dry run that refuses what the real one refuses. */
  async #checkedTar(ctx: OpContext, request: ApplyLayerRequest): Promise<Buffer> {
    const { path, compression } = request.blob;
    const { maxBytes } = request;
    await this.#dryRun(ctx, { source: { path }, compression, ...(maxBytes === undefined ? {} : { maxBytes }) });
    const source = createReadStream(path);
    return await buffer(compression === "none" ? source : source.pipe(createDecompressor(compression)));
  }

  async #dryRun(ctx: OpContext, request: Omit<ExtractRequest, "into" | "semantics">): Promise<void> {
    const scratch = await mkdtemp(join(this.root, "draft-"));
    try {
      await using root = await this.roots.open(ctx, scratch);
      await root.extract(ctx, { ...request, into: "/", semantics: "layer" });
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  async #publish(ctx: OpContext, layer: LayerInfo, tar: Buffer): Promise<LayerInfo> {
    const draft = join(this.root, `draft-${this.#next++}`);
    const directory = join(this.root, `layer-${this.#next++}`);
    await this.#copy(ctx, layer.parent, draft);
    await using root = await this.roots.open(ctx, draft);
    await applyLayerTar(ctx, root, tar);
    await rename(draft, directory);
    this.#layers.set(layer.chainId, { ...layer, directory });
    return layer;
  }

  async #copy(ctx: OpContext, chainId: string, to: string): Promise<void> {
    await mkdir(to);
    const from = this.#parentDirectory(chainId);
    if (from === undefined) return;
    await using source = await this.roots.open(ctx, from);
    await using target = await this.roots.open(ctx, to);
    const stream = await source.pack(ctx, { path: "/", rename: "", semantics: "plain" });
    await target.extract(ctx, { source: { stream }, compression: "none", into: "/", semantics: "plain" });
  }

  async #listParent(ctx: OpContext, chainId: string): Promise<readonly ListedFile[]> {
    const directory = this.#parentDirectory(chainId);
    return directory === undefined ? [] : await this.#list(ctx, directory);
  }

  async #list(ctx: OpContext, directory: string): Promise<readonly ListedFile[]> {
    await using root = await this.roots.open(ctx, directory);
    return await root.list(ctx, "/");
  }

  /** Undefined for the empty stack. */
  #parentDirectory(chainId: string): string | undefined {
    if (chainId === "") return undefined;
    const layer = this.#layers.get(chainId);
    if (layer === undefined) throw snapshotErrors.LAYER_NOT_FOUND({ chainId });
    return layer.directory;
  }

  #parent(id: string): string {
    const parent = this.#snapshots.get(id);
    if (parent === undefined) throw snapshotErrors.SNAPSHOT_NOT_FOUND({ id });
    return parent;
  }

  #directory(id: string): string {
    return join(this.root, `snapshot-${id}`);
  }
}

function differs(file: ListedFile, old: ListedFile): boolean {
  const of = ({ kind, mode, uid, gid, mtimeNs, size, deviceMajor, deviceMinor, capability }: ListedFile) =>
    kind === "directory"
      ? [kind, mode, uid, gid]
      : [kind, mode, uid, gid, mtimeNs, size, deviceMajor, deviceMinor, capability];
  return of(file).join() !== of(old).join();
}

function dirOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), 0));
}
