import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { background } from "../base/op-context.ts";
import { FakeHost } from "../host/fake/fake-host.ts";
import { optionsFor, OverlayMounts } from "./overlay-mounts.ts";

describe("OverlayMounts", () => {
  const ctx = background();
  const upper = { upper: "/s/active/c1/upper", work: "/s/active/c1/work" };

  it("names layers from the top, and asks for uppers that can move", () => {
    expect(optionsFor({ base: "/s/layers", lower: ["b/fs", "a/fs"], upper }, "/s/layers", false)).toBe(
      "lowerdir=/s/layers/b/fs:/s/layers/a/fs,upperdir=/s/active/c1/upper,workdir=/s/active/c1/work," +
        "redirect_dir=nofollow,metacopy=off,index=off",
    );
    expect(optionsFor({ base: "/l", lower: ["a", "b"], upper }, "/l", true)).toMatch(/,volatile$/);
    expect(optionsFor({ base: "/l", lower: ["a", "b"] }, "/l", true)).not.toMatch(/upperdir|volatile/);
  });

  it("escapes what separates paths and options", () => {
    const options = optionsFor(
      { base: "/a:b,c", lower: ["x"], upper: { upper: "/a:b,c/u", work: "/w" } },
      "/a:b,c",
      false,
    );
    expect(options).toContain("lowerdir=/a\\:b\\,c/x,");
    expect(options).toContain("upperdir=/a:b\\,c/u,");
  });

  it("goes through a descriptor when the options would not fit into a page", async () => {
    const host = new FakeHost();
    const mounts = new OverlayMounts(host.kernel);
    const base = mkdtempSync(join(tmpdir(), "berth-layers-with-a-long-name-"));
    const lower = Array.from({ length: 125 }, (_, index) => `${String(index).padStart(8, "0")}/fs`);
    await mounts.mount(ctx, "/m", { base, lower }, false);
    await mounts.mount(ctx, "/n", { base, lower: lower.slice(0, 2) }, false);
    rmSync(base, { recursive: true });
    const data = host.kernel.ops.map((op) => (op.op === "mount" ? (op.data ?? "") : ""));
    expect(data[0]).toMatch(/^lowerdir=\/proc\/self\/fd\/\d+\/00000000\/fs:/);
    expect(data[0]?.length).toBeLessThan(4096);
    expect(data[1]).toContain(`lowerdir=${base}/00000000/fs:${base}/00000001/fs,`);
  });

  it("binds a single read-only layer, which overlayfs would refuse", async () => {
    const host = new FakeHost();
    await new OverlayMounts(host.kernel).mount(ctx, "/m", { base: "/l", lower: ["a/fs"] }, false);
    expect(host.kernel.ops).toEqual([
      { op: "mount", source: "/l/a/fs", target: "/m", flags: ["bind", "ro", "private"] },
    ]);
  });

  it("unmounts what was busy for a moment, without detaching it", async () => {
    const host = new FakeHost();
    let refusals = 3;
    using _ = host.kernel.failWhen(({ op }) => (op === "unmount" && refusals-- > 0 ? "EBUSY" : undefined));
    await new OverlayMounts(host.kernel).unmount(ctx, "/m");
    expect(host.kernel.ops).toEqual([{ op: "unmount", target: "/m" }]);
  });

  it("detaches what stays busy, and passes other failures on", async () => {
    const host = new FakeHost();
    const mounts = new OverlayMounts(host.kernel);
    {
      using _ = host.kernel.failWhen((op) => (op.op === "unmount" && op.detach !== true ? "EBUSY" : undefined));
      await mounts.unmount(ctx, "/m");
      expect(host.kernel.ops).toEqual([{ op: "unmount", target: "/m", detach: true }]);
    }
    using _ = host.kernel.failWhen(() => "EPERM");
    await expect(mounts.unmount(ctx, "/m")).rejects.toMatchObject({ code: "KERNEL_OP_FAILED" });
  });
});
