/** What every {@link Snapshotter} does. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  mkdtempSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sha256, tarOf, type TestEntry } from "../archive/fake/tar-builder.ts";
import { background } from "../base/op-context.ts";
import type { LayerInfo, LayerSink, Snapshotter } from "./snapshotter.ts";

export interface SnapshotterFixture {
  readonly snapshotter: Snapshotter;
  /** Removes everything, after checking that nothing is left mounted. */
  readonly cleanUp: () => Promise<void>;
}

/** Collects what is written to it. */
export class MemorySink implements LayerSink {
  readonly chunks: Uint8Array[] = [];

  get tar(): Buffer {
    return Buffer.concat(this.chunks);
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.chunks.push(Uint8Array.from(chunk));
  }

  async finish() {
    return { digest: sha256(this.tar), size: this.tar.length, mediaType: "application/vnd.oci.image.layer.v1.tar" };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export function snapshotterContract(name: string, create: () => Promise<SnapshotterFixture>): void {
  describe(`${name} as a snapshotter`, () => {
    const ctx = background();
    let fixture: SnapshotterFixture;
    let snapshotter: Snapshotter;
    let blobs: string;

    beforeEach(async () => {
      blobs = mkdtempSync(join(tmpdir(), "berth-blobs-"));
      fixture = await create();
      snapshotter = fixture.snapshotter;
    });
    afterEach(async () => {
      rmSync(blobs, { recursive: true });
      await fixture.cleanUp();
    });

    const apply = async (parent: string, ...entries: TestEntry[]): Promise<LayerInfo> => {
      const tar = tarOf(...entries);
      return await applyTar(parent, tar, sha256(tar));
    };
    const applyTar = async (
      parent: string,
      tar: Buffer,
      diffId: string,
      options: { readonly maxBytes?: number } = {},
    ) => {
      const path = join(blobs, "layer.tar");
      writeFileSync(path, tar);
      return await snapshotter.applyLayer(ctx, { parent, diffId, blob: { path, compression: "none" }, ...options });
    };
    const base = () =>
      apply(
        "",
        { name: "etc/", type: "directory" },
        { name: "etc/hosts", data: "localhost" },
        { name: "etc/passwd", data: "root" },
        { name: "usr/", type: "directory" },
        { name: "usr/bin/", type: "directory" },
        { name: "usr/bin/sh", data: "shell", mode: 0o755 },
        { name: "usr/bin/ls", data: "list", mode: 0o755 },
      );
    /** A snapshot on the base with one of each change. */
    const changedSnapshot = async (id: string) => {
      const layer = await base();
      await snapshotter.prepare(ctx, id, layer.chainId);
      const root = await snapshotter.mount(ctx, id);
      writeFileSync(join(root, "etc/hosts"), "changed!");
      rmSync(join(root, "etc/passwd"));
      mkdirSync(join(root, "etc/new"));
      writeFileSync(join(root, "etc/new/file"), "new");
      rmSync(join(root, "usr/bin"), { recursive: true });
      mkdirSync(join(root, "usr/bin"));
      writeFileSync(join(root, "usr/bin/sh"), "other shell");
      return { layer, root };
    };
    const viewed = async <T>(chainId: string, look: (root: string) => T): Promise<T> => {
      await using view = await snapshotter.view(ctx, chainId);
      return look(view.root);
    };

    it("unpacks layers on each other, and shows them as one tree", async () => {
      const lower = await base();
      const upper = await apply(
        lower.chainId,
        { name: "etc/", type: "directory" },
        { name: "etc/.wh.passwd" },
        { name: "etc/hosts", data: "new" },
        { name: "usr/", type: "directory" },
        { name: "usr/bin/", type: "directory" },
        { name: "usr/bin/.wh..wh..opq" },
        { name: "usr/bin/only", data: "x" },
      );
      expect(upper).toMatchObject({ parent: lower.chainId, size: 4 });
      expect(upper.chainId).toBe(sha256(Buffer.from(`${lower.chainId} ${upper.diffId}`)));
      expect(lower.chainId).toBe(lower.diffId);
      expect(await snapshotter.layers()).toEqual(expect.arrayContaining([lower, upper]));
      expect(await snapshotter.layer(upper.chainId)).toEqual(upper);
      expect(await snapshotter.hasLayer(sha256(Buffer.from("other")))).toBe(false);
      await viewed(upper.chainId, (root) => {
        expect(readdirSync(join(root, "etc"))).toEqual(["hosts"]);
        expect(readFileSync(join(root, "etc/hosts"), "utf8")).toBe("new");
        expect(readdirSync(join(root, "usr/bin"))).toEqual(["only"]);
      });
      await viewed(lower.chainId, (root) => expect(readdirSync(join(root, "etc"))).toEqual(["hosts", "passwd"]));
      await viewed("", (root) => expect(readdirSync(root)).toEqual([]));
    });

    it("unpacks the same layer once, also for two callers at a time", async () => {
      const [first, second] = await Promise.all([base(), base()]);
      expect(second).toEqual(first);
      expect(await snapshotter.layers()).toEqual([first]);
    });

    it("takes compressed blobs and reports progress", async () => {
      const tar = tarOf({ name: "file", data: "x".repeat(10_000) });
      const path = join(blobs, "layer.tar.gz");
      writeFileSync(path, gzipSync(tar));
      const seen: number[] = [];
      const layer = await snapshotter.applyLayer(ctx, {
        parent: "",
        diffId: sha256(tar),
        blob: { path, compression: "gzip" },
        onProgress: (bytes) => seen.push(bytes),
      });
      expect(layer.size).toBe(10_000);
      expect(seen.length).toBeGreaterThan(0);
    });

    it("refuses a wrong digest, a bomb, an escape and a cut blob, and keeps nothing", async () => {
      const tar = tarOf({ name: "file", data: "x" });
      await expect(applyTar("", tar, sha256(Buffer.from("other")))).rejects.toMatchObject({
        code: "LAYER_DIGEST_MISMATCH",
      });
      const large = tarOf({ name: "file", data: "x".repeat(5000) });
      await expect(applyTar("", large, sha256(large), { maxBytes: 2000 })).rejects.toMatchObject({
        code: "ARCHIVE_TOO_LARGE",
      });
      const escape = tarOf({ name: "ok", data: "x" }, { name: "../escape", data: "x" });
      await expect(applyTar("", escape, sha256(escape))).rejects.toMatchObject({ code: "ARCHIVE_ENTRY_REFUSED" });
      const cut = large.subarray(0, 3000);
      await expect(applyTar("", cut, sha256(cut))).rejects.toMatchObject({ code: "ARCHIVE_TRUNCATED" });
      await expect(apply("sha256:nothing", { name: "x" })).rejects.toMatchObject({ code: "LAYER_NOT_FOUND" });
      expect(await snapshotter.layers()).toEqual([]);
      expect((await applyTar("", tar, sha256(tar))).size).toBe(1);
    });

    it("keeps layers that something stands on", async () => {
      const lower = await base();
      const upper = await apply(lower.chainId, { name: "more", data: "x" });
      await expect(snapshotter.removeLayer(ctx, lower.chainId)).rejects.toMatchObject({ code: "LAYER_IN_USE" });
      await snapshotter.prepare(ctx, "c1", upper.chainId);
      await expect(snapshotter.removeLayer(ctx, upper.chainId)).rejects.toMatchObject({ code: "LAYER_IN_USE" });
      await snapshotter.remove(ctx, "c1");
      {
        await using _view = await snapshotter.view(ctx, upper.chainId);
        await expect(snapshotter.removeLayer(ctx, upper.chainId)).rejects.toMatchObject({ code: "LAYER_IN_USE" });
      }
      await snapshotter.removeLayer(ctx, upper.chainId);
      await snapshotter.removeLayer(ctx, lower.chainId);
      await snapshotter.removeLayer(ctx, lower.chainId);
      expect(await snapshotter.layers()).toEqual([]);
    });

    it("keeps what a snapshot writes, apart from its layers and from other snapshots", async () => {
      const layer = await base();
      await snapshotter.prepare(ctx, "c1", layer.chainId);
      await snapshotter.prepare(ctx, "c2", layer.chainId);
      const root = await snapshotter.mount(ctx, "c1");
      expect(await snapshotter.mount(ctx, "c1")).toBe(root);
      writeFileSync(join(root, "etc/hosts"), "mine");
      await snapshotter.unmount(ctx, "c1");
      await snapshotter.unmount(ctx, "c1");
      expect(readFileSync(join(await snapshotter.mount(ctx, "c1"), "etc/hosts"), "utf8")).toBe("mine");
      expect(readFileSync(join(await snapshotter.mount(ctx, "c2"), "etc/hosts"), "utf8")).toBe("localhost");
      await viewed(layer.chainId, (view) => expect(readFileSync(join(view, "etc/hosts"), "utf8")).toBe("localhost"));
      expect(await snapshotter.list()).toEqual(["c1", "c2"]);
      expect(await snapshotter.usage(ctx, "c1")).toBe(4);
      expect(await snapshotter.usage(ctx, "c2")).toBe(0);
      writeFileSync(join(root, "big"), Buffer.alloc(1 << 20, 1));
      const [first = 0, second = 0, missing] = await snapshotter.diskUsage(ctx, ["c1", "c2", "nobody"]);
      expect(first - second).toBeGreaterThanOrEqual(1 << 20);
      expect(missing).toBe(0);
      const [onDisk = 0, none] = await snapshotter.layersOnDisk(ctx, [layer.chainId, "sha256:none"]);
      expect(onDisk).toBeGreaterThanOrEqual(4096);
      expect(await snapshotter.layersOnDisk(ctx, [layer.chainId])).toEqual([onDisk]);
      expect(none).toBe(0);
      await snapshotter.remove(ctx, "c1");
      await snapshotter.remove(ctx, "c2");
      await snapshotter.remove(ctx, "c2");
      expect(existsSync(join(root, "etc"))).toBe(false);
      expect(await snapshotter.list()).toEqual([]);
    });

    it("throws a volatile snapshot away as any other, and mounts it again", async () => {
      const layer = await base();
      await snapshotter.prepare(ctx, "c1", layer.chainId);
      writeFileSync(join(await snapshotter.mount(ctx, "c1", { volatile: true }), "file"), "x");
      await snapshotter.unmount(ctx, "c1");
      expect(readFileSync(join(await snapshotter.mount(ctx, "c1", { volatile: true }), "file"), "utf8")).toBe("x");
      await snapshotter.unmount(ctx, "c1");
      expect(readFileSync(join(await snapshotter.mount(ctx, "c1"), "file"), "utf8")).toBe("x");
      await snapshotter.remove(ctx, "c1");
    });

    it("makes snapshots of nothing", async () => {
      await snapshotter.prepare(ctx, "scratch", "");
      const root = await snapshotter.mount(ctx, "scratch");
      expect(readdirSync(root)).toEqual([]);
      writeFileSync(join(root, "file"), "x");
      expect(await snapshotter.changes(ctx, "scratch")).toEqual([{ kind: "added", path: "/file" }]);
      await snapshotter.remove(ctx, "scratch");
    });

    it("refuses ids that are taken, unknown or no names, and unknown layers", async () => {
      await snapshotter.prepare(ctx, "c1", "");
      await expect(snapshotter.prepare(ctx, "c1", "")).rejects.toMatchObject({ code: "SNAPSHOT_EXISTS" });
      await expect(snapshotter.prepare(ctx, "../c2", "")).rejects.toMatchObject({ code: "SNAPSHOT_ID_INVALID" });
      await expect(snapshotter.prepare(ctx, "c2", "sha256:no")).rejects.toMatchObject({ code: "LAYER_NOT_FOUND" });
      await expect(snapshotter.mount(ctx, "c2")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
      await expect(snapshotter.changes(ctx, "c2")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
      await expect(snapshotter.commit(ctx, "c2", new MemorySink())).rejects.toMatchObject({
        code: "SNAPSHOT_NOT_FOUND",
      });
      await expect(snapshotter.view(ctx, "sha256:no")).rejects.toMatchObject({ code: "LAYER_NOT_FOUND" });
      await snapshotter.remove(ctx, "c1");
    });

    it("says what changed, in Docker's terms", async () => {
      await changedSnapshot("c1");
      expect(await snapshotter.changes(ctx, "c1")).toEqual([
        { kind: "modified", path: "/etc" },
        { kind: "modified", path: "/etc/hosts" },
        { kind: "added", path: "/etc/new" },
        { kind: "added", path: "/etc/new/file" },
        { kind: "deleted", path: "/etc/passwd" },
        { kind: "modified", path: "/usr" },
        { kind: "modified", path: "/usr/bin" },
        { kind: "deleted", path: "/usr/bin/ls" },
        { kind: "modified", path: "/usr/bin/sh" },
      ]);
      await snapshotter.remove(ctx, "c1");
    });

    it("says what replaced directories hid, also deeper, but not what was below one that is now a file", async () => {
      const layer = await apply(
        "",
        { name: "apt/", type: "directory" },
        { name: "apt/conf.d/", type: "directory" },
        { name: "apt/conf.d/01", data: "1" },
        { name: "apt/keys/", type: "directory" },
        { name: "apt/keys/key", data: "2" },
        { name: "cron/", type: "directory" },
        { name: "cron/job", data: "3" },
        { name: "group", data: "4" },
      );
      await snapshotter.prepare(ctx, "c1", layer.chainId);
      const root = await snapshotter.mount(ctx, "c1");
      for (const name of ["apt", "cron", "group"]) rmSync(join(root, name), { recursive: true });
      mkdirSync(join(root, "apt/conf.d"), { recursive: true });
      writeFileSync(join(root, "cron"), "");
      mkdirSync(join(root, "group"));
      writeFileSync(join(root, "group/x"), "");
      expect(await snapshotter.changes(ctx, "c1")).toEqual([
        { kind: "modified", path: "/apt" },
        { kind: "modified", path: "/apt/conf.d" },
        { kind: "deleted", path: "/apt/conf.d/01" },
        { kind: "deleted", path: "/apt/keys" },
        { kind: "modified", path: "/cron" },
        { kind: "modified", path: "/group" },
        { kind: "added", path: "/group/x" },
      ]);
      await snapshotter.remove(ctx, "c1");
    });

    it("sees no change in what was only touched to be read, nor in a directory's time", async () => {
      const layer = await base();
      await snapshotter.prepare(ctx, "c1", layer.chainId);
      const root = await snapshotter.mount(ctx, "c1");
      const { atime, mtime } = statSync(join(root, "etc/hosts"));
      utimesSync(join(root, "etc/hosts"), atime, mtime);
      utimesSync(join(root, "etc"), 5, 5);
      expect(await snapshotter.changes(ctx, "c1")).toEqual([]);
      await snapshotter.remove(ctx, "c1");
    });

    it("turns a snapshot into a layer that equals it, and leaves the snapshot usable", async () => {
      const { layer, root } = await changedSnapshot("c1");
      const sink = new MemorySink();
      const committed = await snapshotter.commit(ctx, "c1", sink);
      expect(committed).toMatchObject({ parent: layer.chainId, diffId: sha256(sink.tar), size: 22 });
      expect(committed.blob.digest).toBe(sha256(sink.tar));
      writeFileSync(join(root, "etc/hosts"), "written later");
      await viewed(committed.chainId, (view) => {
        expect(readFileSync(join(view, "etc/hosts"), "utf8")).toBe("changed!");
        expect(readdirSync(join(view, "etc"))).toEqual(["hosts", "new"]);
        expect(readdirSync(join(view, "usr/bin"))).toEqual(["sh"]);
      });
      await snapshotter.remove(ctx, "c1");
      // The blob unpacks to the same layer.
      await snapshotter.removeLayer(ctx, committed.chainId);
      const again = await applyTar(layer.chainId, sink.tar, committed.diffId);
      expect(again).toMatchObject({ chainId: committed.chainId, size: committed.size });
    });

    it("gives the same tar by diffTar as by commit", async () => {
      await changedSnapshot("c1");
      const sink = new MemorySink();
      const tar = await buffer(await snapshotter.diffTar(ctx, "c1"));
      await snapshotter.commit(ctx, "c1", sink);
      expect(sha256(tar)).toBe(sha256(sink.tar));
      await snapshotter.remove(ctx, "c1");
    });

    it("consumes a snapshot: the layer is the same and the snapshot is gone", async () => {
      const { layer } = await changedSnapshot("c1");
      const sink = new MemorySink();
      const committed = await snapshotter.commit(ctx, "c1", sink, { consume: true });
      expect(committed).toMatchObject({ parent: layer.chainId, diffId: sha256(sink.tar), size: 22 });
      expect(await snapshotter.list()).toEqual([]);
      await snapshotter.remove(ctx, "c1");
      await viewed(committed.chainId, (view) => {
        expect(readFileSync(join(view, "etc/hosts"), "utf8")).toBe("changed!");
        expect(readdirSync(join(view, "usr/bin"))).toEqual(["sh"]);
      });
      await snapshotter.prepare(ctx, "c2", committed.chainId);
      writeFileSync(join(await snapshotter.mount(ctx, "c2"), "etc/hosts"), "on top");
      await viewed(committed.chainId, (view) => expect(readFileSync(join(view, "etc/hosts"), "utf8")).toBe("changed!"));
      await snapshotter.remove(ctx, "c2");
    });

    it("imports a layer's tar as it would unpack its blob", async () => {
      const { chainId: parent } = await base();
      const tar = tarOf({ name: "etc/.wh.passwd" }, { name: "etc/more", data: "more" });
      const sink = new MemorySink();
      const layer = await snapshotter.importLayer(ctx, { parent, tar: Readable.from([tar]), sink });
      expect(layer).toMatchObject({ parent, diffId: sha256(tar), size: 4, blob: { digest: sha256(tar) } });
      expect(sink.tar.equals(tar)).toBe(true);
      {
        await using view = await snapshotter.view(ctx, layer.chainId);
        expect(readdirSync(join(view.root, "etc")).toSorted()).toEqual(["hosts", "more"]);
      }
      // It is there already: the blob is made all the same.
      const again = await snapshotter.importLayer(ctx, { parent, tar: Readable.from([tar]), sink: new MemorySink() });
      expect(again).toEqual(layer);
      await snapshotter.removeLayer(ctx, layer.chainId);
    });

    it("imports nothing of a tar that is cut off or leaves its directory", async () => {
      const { chainId: parent } = await base();
      const before = await snapshotter.layers();
      const importing = (tar: Buffer) =>
        snapshotter.importLayer(ctx, { parent, tar: Readable.from([tar]), sink: new MemorySink() });
      await expect(importing(tarOf({ name: "f", data: "x".repeat(1000) }).subarray(0, 700))).rejects.toMatchObject({
        code: "ARCHIVE_TRUNCATED",
      });
      await expect(importing(tarOf({ name: "../f", data: "x" }))).rejects.toMatchObject({
        code: "ARCHIVE_ENTRY_REFUSED",
      });
      expect(await snapshotter.layers()).toEqual(before);
    });

    it("keeps no layer when the blob can't be stored", async () => {
      await changedSnapshot("c1");
      const sink = new MemorySink();
      sink.finish = async () => {
        throw new Error("disk full");
      };
      const before = await snapshotter.layers();
      await expect(snapshotter.commit(ctx, "c1", sink)).rejects.toThrow("disk full");
      expect(await snapshotter.layers()).toEqual(before);
      expect((await snapshotter.changes(ctx, "c1")).length).toBe(9);
      await snapshotter.remove(ctx, "c1");
    });
  });
}
