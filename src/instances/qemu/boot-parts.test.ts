import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../../base/logger.ts";
import { background } from "../../base/op-context.ts";
import { FakeHost } from "../../host/fake/fake-host.ts";
import { BootParts } from "./boot-parts.ts";

const ctx = background();
const layer = "a".repeat(64);
let root: string;
let host: FakeHost;
let layers: Set<string>;
let views: string[];
let parts: BootParts;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-parts-"));
  host = new FakeHost();
  layers = new Set([`sha256:${layer}`]);
  views = [];
  const snapshotter = {
    hasLayer: async (chainId: string) => layers.has(chainId),
    view: async (_ctx: unknown, chainId: string) => {
      views.push(chainId);
      return { root: "/view", [Symbol.asyncDispose]: async () => void views.push("unmounted") };
    },
  };
  parts = new BootParts({
    host,
    snapshotter,
    root,
    binaries: join(root, "bin"),
    kernelPackage: "",
    templateBytes: 0,
    log: silentLogger,
  });
  host.processes.script("du", () => ({ stdout: "4096\tx\n" }));
  host.processes.script("debugfs", () => ({}));
  host.processes.script("mkfs.ext4", ({ argv }) => {
    writeFileSync(argv.at(-2) ?? "", "");
    return {};
  });
});
afterEach(() => rmSync(root, { recursive: true }));

describe("what machines are booted from", () => {
  it("is missing by name", () => {
    expect(parts.missing()).toEqual(
      expect.arrayContaining([
        expect.stringContaining("qemu-system-"),
        expect.stringContaining("the guest's agent has not been built"),
      ]),
    );
    expect(parts.missing().join()).not.toContain("mkfs.ext4");
  });

  it("has an image's disk made from a view of its layers, once", async () => {
    const paths = [await parts.imageDisk(ctx, `sha256:${layer}`), await parts.imageDisk(ctx, `sha256:${layer}`)];
    expect(new Set(paths)).toEqual(new Set([join(root, "images", `${layer}.ext4`)]));
    expect(views).toEqual([`sha256:${layer}`, "unmounted"]);
  });

  it("loses the disk of a layer that goes: at once, or at the engine's next start", async () => {
    const disk = await parts.imageDisk(ctx, `sha256:${layer}`);
    await parts.forgetLayer(`sha256:${layer}`);
    expect(existsSync(disk)).toBe(false);
    await parts.imageDisk(ctx, `sha256:${layer}`);
    await parts.collect([]);
    expect(existsSync(disk)).toBe(true);
    layers.clear();
    await parts.collect([]);
    expect(existsSync(disk)).toBe(false);
  });

  it("puts an empty overlay of the blank disk where an instance is to write", async () => {
    const scratch = join(root, "scratch.qcow2");
    await parts.scratchDisk(scratch, "/berth/blank");
    expect(readFileSync(scratch).toString("latin1", 0, 3)).toBe("QFI");
    expect(readdirSync(join(await parts.blankDisk(ctx), ".."))).toHaveLength(1);
  });
});
