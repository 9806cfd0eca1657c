import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256, tarOf, type TestEntry } from "../../../src/archive/fake/tar-builder.ts";
import { ThreadConfinedRoots } from "../../../src/archive/thread-confined-roots.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { background } from "../../../src/base/op-context.ts";
import type { Host } from "../../../src/host/host.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import { OverlaySnapshotter } from "../../../src/snapshots/overlay-snapshotter.ts";
import type { LayerInfo } from "../../../src/snapshots/snapshotter.ts";
import { MemorySink, snapshotterContract } from "../../../src/snapshots/snapshotter.contract.ts";
import { SmallDisk } from "../../soak/small-disk.ts";

const ctx = background();
const roots = new ThreadConfinedRoots();
let host: Host;
beforeAll(async () => {
  host = await createLinuxHost({ log: silentLogger });
});
afterAll(async () => {
  await roots[Symbol.asyncDispose]();
  await host.close();
});

const open = (root: string, facts = host.facts, processes: Host["processes"] = host.processes) =>
  OverlaySnapshotter.open(ctx, { root, host: { ...host, facts, processes }, roots, log: silentLogger });

/** Fails when a mount or a half-made thing is left, then removes everything. */
async function cleanUp(root: string): Promise<void> {
  const mounts = await host.kernel.mounts(root);
  for (const { target } of mounts.toReversed()) await host.kernel.apply(ctx, [{ op: "unmount", target, detach: true }]);
  const left = ["active", "drafts", "trash", "views"].flatMap((name) => readdirSync(join(root, name)));
  rmSync(root, { recursive: true });
  expect({ mounts, left }).toEqual({ mounts: [], left: [] });
}

snapshotterContract("OverlaySnapshotter", async () => {
  const root = mkdtempSync(join(tmpdir(), "berth-snapshots-"));
  const snapshotter = await open(root);
  return {
    snapshotter,
    cleanUp: async () => {
      await snapshotter[Symbol.asyncDispose]();
      await cleanUp(root);
    },
  };
});

describe("OverlaySnapshotter", () => {
  /** Runs `work` on a fresh root. */
  async function withRoot(work: (root: string, snapshotter: OverlaySnapshotter) => Promise<void>): Promise<void> {
    const root = mkdtempSync(join(tmpdir(), "berth-snapshots-"));
    try {
      await work(root, await open(root));
    } finally {
      await cleanUp(root);
    }
  }
  async function apply(snapshotter: OverlaySnapshotter, parent: string, ...entries: TestEntry[]): Promise<LayerInfo> {
    const directory = mkdtempSync(join(tmpdir(), "berth-blobs-"));
    try {
      const path = join(directory, "layer.tar");
      const tar = tarOf(...entries);
      writeFileSync(path, tar);
      return await snapshotter.applyLayer(ctx, { parent, diffId: sha256(tar), blob: { path, compression: "none" } });
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  it("finds layers, snapshots and mounts again when the engine was killed", async () => {
    await withRoot(async (root, snapshotter) => {
      const layer = await apply(snapshotter, "", { name: "file", data: "x" });
      await snapshotter.prepare(ctx, "mounted", layer.chainId);
      await snapshotter.prepare(ctx, "idle", layer.chainId);
      const merged = await snapshotter.mount(ctx, "mounted");
      writeFileSync(join(merged, "written"), "before the kill");
      await snapshotter.view(ctx, layer.chainId);

      const again = await open(root);
      expect(await again.layers()).toEqual([layer]);
      expect((await again.list()).toSorted()).toEqual(["idle", "mounted"]);
      expect(readdirSync(join(root, "views"))).toEqual([]);
      expect(await again.mount(ctx, "mounted")).toBe(merged);
      expect((await host.kernel.mounts(root)).map(({ target }) => target)).toEqual([merged]);
      expect(readFileSync(join(merged, "written"), "utf8")).toBe("before the kill");
      await expect(again.removeLayer(ctx, layer.chainId)).rejects.toMatchObject({ code: "LAYER_IN_USE" });
      await again.remove(ctx, "mounted");
      await again.remove(ctx, "idle");
      await again.removeLayer(ctx, layer.chainId);
    });
  });

  it("removes what was half made: drafts, trash, damaged layers, and snapshots whose upper directory became a layer's", async () => {
    await withRoot(async (root, snapshotter) => {
      const layer = await apply(snapshotter, "", { name: "file", data: "x" });
      const damaged = await apply(snapshotter, layer.chainId, { name: "other", data: "y" });
      const above = await apply(snapshotter, damaged.chainId, { name: "third", data: "z" });
      await snapshotter.prepare(ctx, "consumed", layer.chainId);
      renameSync(join(root, "active/consumed/upper"), join(root, "drafts/upper"));
      mkdirSync(join(root, "drafts/half/fs"), { recursive: true });
      mkdirSync(join(root, "trash/old/upper"), { recursive: true });
      mkdirSync(join(root, "active/stray"));
      const short = readdirSync(join(root, "layers")).find((name) => damaged.chainId.includes(name)) ?? "";
      writeFileSync(join(root, "layers", short, "meta.json"), '{"version":1,');

      const again = await open(root);
      expect(await again.layers()).toEqual([layer]);
      expect(await again.hasLayer(above.chainId)).toBe(false);
      expect(await again.list()).toEqual([]);
      expect(readdirSync(join(root, "layers")).length).toBe(1);
    });
  });

  it("drops layers that may not have reached the disk before the machine went down, and keeps synced ones", async () => {
    await withRoot(async (root, snapshotter) => {
      const synced = await apply(snapshotter, "", { name: "file", data: "x" });
      await snapshotter[Symbol.asyncDispose]();
      const lost = await apply(snapshotter, synced.chainId, { name: "other", data: "y" });
      expect((await (await open(root)).layers()).length).toBe(2);

      const afterBoot = await open(root, { ...host.facts, bootId: "another boot" });
      expect(await afterBoot.layers()).toEqual([synced]);
      expect(await apply(afterBoot, synced.chainId, { name: "other", data: "y" })).toEqual(lost);
    });
  });

  it("counts a layer that was removed and published anew during a sync as not synced", async () => {
    await withRoot(async (root) => {
      const during: (() => Promise<void>)[] = [];
      const snapshotter = await open(root, host.facts, {
        ...host.processes,
        run: async (...words) => {
          const result = await host.processes.run(...words);
          for (const work of during) await work();
          return result;
        },
      });
      const kept = await apply(snapshotter, "", { name: "kept", data: "x" });
      const { chainId } = await apply(snapshotter, "", { name: "file", data: "x" });
      const removed = await apply(snapshotter, "", { name: "removed", data: "x" });
      during.push(async () => {
        await snapshotter.removeLayer(ctx, removed.chainId);
        await snapshotter.removeLayer(ctx, chainId);
        await apply(snapshotter, "", { name: "file", data: "x" });
      });
      await snapshotter[Symbol.asyncDispose]();
      const afterBoot = await open(root, { ...host.facts, bootId: "another boot" });
      expect(await afterBoot.layers()).toEqual([kept]);
    });
  });

  it("refuses a mount that overlayfs would make read-only on a full disk, and makes it when there is room again", async () => {
    await using disk = await SmallDisk.make(16);
    const snapshotter = await open(disk.path);
    await snapshotter.prepare(ctx, "one", "");
    disk.fill(0);
    await expect(snapshotter.mount(ctx, "one")).rejects.toMatchObject({ code: "ENOSPC" });
    expect(await host.kernel.mounts(join(disk.path, "active"))).toEqual([]);
    disk.free();
    writeFileSync(join(await snapshotter.mount(ctx, "one"), "file"), "written");
    await snapshotter.remove(ctx, "one");
  });

  it("stacks 125 layers, whose paths do not fit into mount's options, and refuses one more", async () => {
    await withRoot(async (_root, snapshotter) => {
      let parent = "";
      for (let index = 0; index < 125; index++) {
        parent = (await apply(snapshotter, parent, { name: `file-${index}`, data: `${index}` })).chainId;
      }
      await expect(apply(snapshotter, parent, { name: "one-more" })).rejects.toMatchObject({
        code: "LAYER_STACK_TOO_DEEP",
        message: expect.stringContaining("max depth exceeded"),
      });
      await snapshotter.prepare(ctx, "deep", parent);
      const merged = await snapshotter.mount(ctx, "deep");
      expect(readdirSync(merged).length).toBe(125);
      expect(readFileSync(join(merged, "file-0"), "utf8")).toBe("0");
      await snapshotter.remove(ctx, "deep");
      await using view = await snapshotter.view(ctx, parent);
      expect(readdirSync(view.root).length).toBe(125);
    });
  });

  it("works under a root with colons, commas and spaces in its name", async () => {
    const parent = mkdtempSync(join(tmpdir(), "berth-snapshots-"));
    const root = join(parent, "a:b,c d\\e");
    mkdirSync(root);
    const snapshotter = await open(root);
    const layer = await apply(snapshotter, "", { name: "file", data: "x" });
    await snapshotter.prepare(ctx, "c1", layer.chainId);
    expect(readdirSync(await snapshotter.mount(ctx, "c1"))).toEqual(["file"]);
    await snapshotter.remove(ctx, "c1");
    await cleanUp(root);
    rmSync(parent, { recursive: true });
  });

  it("refuses a root that overlayfs can't write to, such as a container's", async () => {
    await withRoot(async (_root, snapshotter) => {
      await snapshotter.prepare(ctx, "c1", "");
      const inside = join(await snapshotter.mount(ctx, "c1"), "snapshots");
      await expect(open(inside)).rejects.toMatchObject({
        code: "SNAPSHOT_ROOT_UNUSABLE",
        message: expect.stringContaining("another overlayfs"),
      });
      await snapshotter.remove(ctx, "c1");
    });
  });

  it("keeps file capabilities, devices and owners through layers and commits, and opens the root to all as Docker does", async () => {
    await withRoot(async (_root, snapshotter) => {
      // cap_net_raw=ep, as setcap(8) writes it.
      const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
      const base = await apply(
        snapshotter,
        "",
        { name: "./", type: "directory", mode: 0o700, uid: 1, gid: 2 },
        { name: "ping", data: "elf", mode: 0o755, xattrs: new Map([["security.capability", capability]]) },
        { name: "null", type: "char", deviceMajor: 1, deviceMinor: 3, mode: 0o666 },
      );
      await snapshotter.prepare(ctx, "c1", base.chainId);
      const merged = await snapshotter.mount(ctx, "c1");
      expect(execFileSync("stat", ["-c", "%a %u %g", merged]).toString().trim()).toBe("755 0 0");
      expect(execFileSync("getcap", [join(merged, "ping")]).toString()).toContain("cap_net_raw=ep");
      expect(
        execFileSync("stat", ["-c", "%t:%T", join(merged, "null")])
          .toString()
          .trim(),
      ).toBe("1:3");
      execFileSync("setcap", ["cap_net_admin=ep", join(merged, "ping")]);
      execFileSync("chown", ["7:8", join(merged, "null")]);
      expect(await snapshotter.changes(ctx, "c1")).toEqual([
        { kind: "modified", path: "/null" },
        { kind: "modified", path: "/ping" },
      ]);
      const committed = await snapshotter.commit(ctx, "c1", new MemorySink(), { consume: true });
      await using view = await snapshotter.view(ctx, committed.chainId);
      expect(execFileSync("getcap", [join(view.root, "ping")]).toString()).toContain("cap_net_admin=ep");
      expect(
        execFileSync("stat", ["-c", "%u:%g %t:%T", join(view.root, "null")])
          .toString()
          .trim(),
      ).toBe("7:8 1:3");
      expect(execFileSync("stat", ["-c", "%a %u %g", view.root]).toString().trim()).toBe("700 1 2");
    });
  });

  it("never takes overlay's own attributes from a layer", async () => {
    await withRoot(async (_root, snapshotter) => {
      const base = await apply(snapshotter, "", { name: "dir/secret", data: "x" });
      const hostile = await apply(
        snapshotter,
        base.chainId,
        { name: "dir/", type: "directory", xattrs: new Map([["trusted.overlay.opaque", Buffer.from("y")]]) },
        { name: "moved/", type: "directory", xattrs: new Map([["trusted.overlay.redirect", Buffer.from("/dir")]]) },
      );
      await using view = await snapshotter.view(ctx, hostile.chainId);
      expect(readdirSync(join(view.root, "dir"))).toEqual(["secret"]);
      expect(readdirSync(join(view.root, "moved"))).toEqual([]);
    });
  });

  it("unmounts a snapshot that is still in use when its last user goes", async () => {
    await withRoot(async (_root, snapshotter) => {
      await snapshotter.prepare(ctx, "busy", "");
      const merged = await snapshotter.mount(ctx, "busy");
      writeFileSync(join(merged, "file"), "x");
      await using user = await roots.open(ctx, merged);
      await snapshotter.remove(ctx, "busy");
      expect(existsSync(merged)).toBe(false);
      expect((await user.stat(ctx, "/")).kind).toBe("directory");
    });
  });
});
