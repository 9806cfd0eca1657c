import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { background } from "../base/op-context.ts";
import { diskFormats, type DiskImage, type VirtualDisks } from "./virtual-disks.ts";

const MiB = 1024 * 1024;

export interface VirtualDisksFixture {
  readonly disks: VirtualDisks;
  /** An empty directory that only root can enter. */
  readonly directory: string;
  readonly cleanUp: () => Promise<void>;
}

/** What every {@link VirtualDisks} does. */
export function virtualDisksContract(name: string, create: () => Promise<VirtualDisksFixture>): void {
  describe(`${name} as virtual disks`, () => {
    const ctx = background();
    let fixture: VirtualDisksFixture;
    let disks: VirtualDisks;
    const path = (file: string) => join(fixture.directory, file);

    beforeEach(async () => {
      fixture = await create();
      disks = fixture.disks;
    });
    afterEach(() => fixture.cleanUp());

    /** A raw disk with something in it. */
    async function written(file: string, size = 2 * MiB): Promise<DiskImage> {
      const bytes = Buffer.alloc(size);
      bytes.write("the contents of a disk", 512 * 1024);
      await disks.receive(ctx, Readable.from([bytes.subarray(0, 700_001), bytes.subarray(700_001)]), path(file), size);
      return { file: path(file), format: "raw" };
    }

    it("makes a blank disk, tells what it is, and never over another", async () => {
      const file = path("a.qcow2");
      await disks.create(ctx, file, { size: 64 * MiB });
      expect(await disks.inspect(ctx, file)).toMatchObject({
        format: "qcow2",
        virtualSize: 64 * MiB,
        snapshots: [],
        dirty: false,
      });
      expect((await disks.inspect(ctx, file)).actualSize).toBeLessThan(MiB);
      await expect(disks.create(ctx, file, { size: MiB })).rejects.toMatchObject({ code: "DISK_EXISTS", status: 409 });
      await disks.create(ctx, path("b.raw"), { size: MiB, format: "raw" });
      expect(await disks.inspect(ctx, path("b.raw"))).toMatchObject({ format: "raw", virtualSize: MiB });
    });

    it.each([0, -512, 1000, 2 ** 60, 1.5])("refuses %d as a size", async (size) => {
      await expect(disks.create(ctx, path("a.qcow2"), { size })).rejects.toMatchObject({ status: 400 });
      await expect(disks.inspect(ctx, path("a.qcow2"))).rejects.toMatchObject({ code: "DISK_NOT_FOUND" });
    });

    it("makes an overlay that is as large as what is behind it, or larger", async () => {
      const backing = await written("base.raw");
      await disks.overlay(ctx, path("a.qcow2"), { backing, recordedPath: "/bases/base.raw" });
      expect(await disks.inspect(ctx, path("a.qcow2"), { backing })).toMatchObject({
        virtualSize: 2 * MiB,
        backing: "/bases/base.raw",
      });
      await disks.overlay(ctx, path("b.qcow2"), { backing, size: 4 * MiB });
      expect(await disks.inspect(ctx, path("b.qcow2"), { backing })).toMatchObject({ virtualSize: 4 * MiB });
      const small = disks.overlay(ctx, path("c.qcow2"), { backing, size: MiB });
      await expect(small).rejects.toMatchObject({ code: "DISK_SHRINK_REFUSED" });
    });

    it("refuses an overlay where none is expected", async () => {
      const backing = await written("base.raw");
      await disks.overlay(ctx, path("a.qcow2"), { backing, recordedPath: "/etc/shadow" });
      const refused = disks.inspect(ctx, path("a.qcow2"), { name: "upload.qcow2" });
      await expect(refused).rejects.toMatchObject({
        code: "DISK_BACKING_REFUSED",
        message: expect.stringMatching(/upload\.qcow2.*\/etc\/shadow/),
      });
    });

    it.each(diskFormats)("converts to %s and back without losing a byte", async (format) => {
      const source = await written("a.raw");
      const seen: number[] = [];
      await disks.convert(ctx, { source, target: path("b"), format, progress: (done) => seen.push(done) });
      expect(seen.at(-1)).toBe(1);
      expect(await disks.inspect(ctx, path("b"))).toMatchObject({ format, virtualSize: 2 * MiB });
      await disks.convert(ctx, { source: { file: path("b"), format }, target: path("c.raw"), format: "raw" });
      expect(await disks.digest(ctx, path("c.raw"))).toBe(await disks.digest(ctx, source.file));
    });

    it("converts an overlay with all that shows through", async () => {
      const backing = await written("base.raw");
      await disks.overlay(ctx, path("a.qcow2"), { backing, recordedPath: "/nowhere" });
      const source = { file: path("a.qcow2"), format: "qcow2", backing } as const;
      await disks.convert(ctx, { source, target: path("whole.raw"), format: "raw" });
      expect(await disks.digest(ctx, path("whole.raw"))).toBe(await disks.digest(ctx, backing.file));
    });

    it("keeps snapshots in a qcow2, also one whose base is elsewhere, and removes them", async () => {
      const disk = { file: path("a.qcow2"), format: "qcow2" } as const;
      await disks.overlay(ctx, disk.file, { backing: await written("base.raw"), recordedPath: "/nowhere" });
      await disks.snapshot(ctx, disk, "create", "one");
      const inspect = async () => (await disks.inspect(ctx, disk.file, { backing: disk })).snapshots;
      expect(await inspect()).toEqual(["one"]);
      await disks.snapshot(ctx, disk, "apply", "one");
      await disks.snapshot(ctx, disk, "delete", "one");
      await disks.snapshot(ctx, disk, "delete", "one");
      expect(await inspect()).toEqual([]);
      const refused = disks.snapshot(ctx, disk, "apply", "one");
      await expect(refused).rejects.toMatchObject({ code: "DISK_SNAPSHOT_MISSING" });
    });

    it("grows a disk and never shrinks it", async () => {
      const disk = { file: path("a.qcow2"), format: "qcow2" } as const;
      await disks.create(ctx, disk.file, { size: 8 * MiB });
      await disks.resize(ctx, disk, 16 * MiB);
      expect((await disks.inspect(ctx, disk.file)).virtualSize).toBe(16 * MiB);
      await expect(disks.resize(ctx, disk, 8 * MiB)).rejects.toMatchObject({
        code: "DISK_SHRINK_REFUSED",
        status: 400,
      });
      expect(await disks.check(ctx, disk)).toEqual({ corruptions: 0, leaks: 0, repaired: 0 });
    });

    it("takes a copy of a stranger's file, and leaves that as it is", async () => {
      await writeFile(path("stranger"), Buffer.alloc(MiB, 7), { mode: 0o600 });
      await disks.take(ctx, path("stranger"), path("ours"));
      expect(await disks.digest(ctx, path("ours"))).toBe(await disks.digest(ctx, path("stranger")));
      await expect(disks.take(ctx, path("none"), path("b"))).rejects.toMatchObject({ code: "DISK_NOT_FOUND" });
      await expect(disks.take(ctx, fixture.directory, path("b"))).rejects.toMatchObject({
        code: "DISK_FORMAT_UNSUPPORTED",
      });
    });

    it("stops a stream that is too long, and keeps nothing of it", async () => {
      const endless = Readable.from([Buffer.alloc(MiB), Buffer.alloc(MiB)]);
      await expect(disks.receive(ctx, endless, path("a"), MiB)).rejects.toMatchObject({ code: "DISK_TOO_LARGE" });
      await expect(stat(path("a"))).rejects.toMatchObject({ code: "ENOENT" });
    });

    it.each([
      ["nothing at all", Buffer.alloc(0), "DISK_FORMAT_UNSUPPORTED"],
      ["half a sector", Buffer.alloc(700), "DISK_FORMAT_UNSUPPORTED"],
      ["a gzip", Buffer.concat([Buffer.from([0x1f, 0x8b, 8]), Buffer.alloc(509)]), "DISK_FORMAT_UNSUPPORTED"],
      ["the first bytes of a qcow2", Buffer.from("QFI\xfb\0\0\0\x03", "latin1"), "DISK_CORRUPT"],
    ])("refuses %s", async (_, bytes, code) => {
      await disks.receive(ctx, Readable.from([bytes]), path("a"), MiB);
      await expect(disks.inspect(ctx, path("a"))).rejects.toMatchObject({ code });
    });
  });
}
