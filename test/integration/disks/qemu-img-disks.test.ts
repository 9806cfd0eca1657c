import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { silentLogger } from "../../../src/base/logger.ts";
import { background, withSignal } from "../../../src/base/op-context.ts";
import { diskToolId, runConfined } from "../../../src/disks/confined-qemu-img.ts";
import { QemuImgDisks } from "../../../src/disks/qemu-img-disks.ts";
import { virtualDisksContract } from "../../../src/disks/virtual-disks.contract.ts";
import type { Host } from "../../../src/host/host.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";

virtualDisksContract("QemuImgDisks", async () => {
  const directory = await mkdtemp(join(tmpdir(), "berth-disks-"));
  const host = await createLinuxHost({ log: silentLogger });
  return {
    disks: new QemuImgDisks({ host }),
    directory,
    cleanUp: async () => {
      await host.close();
      await rm(directory, { recursive: true });
    },
  };
});

describe("hostile images", () => {
  const ctx = background();
  const directory = mkdtempSync(join(tmpdir(), "berth-disks-"));
  const path = (name: string) => join(directory, name);
  const qemuImg = (...words: string[]) => execFileSync("qemu-img", words, { stdio: "pipe", cwd: directory });
  let host: Host;
  let disks: QemuImgDisks;

  beforeAll(async () => {
    host = await createLinuxHost({ log: silentLogger });
    disks = new QemuImgDisks({ host, maxVirtualSize: 1024 ** 4 });
  });
  afterAll(async () => {
    await host.close();
    rmSync(directory, { recursive: true });
  });
  /** A file for each case, so that none is another's. */
  let count = 0;
  const fresh = (extension: string) => path(`${++count}.${extension}`);

  test("a backing file", async () => {
    const file = fresh("qcow2");
    qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", file, "1M");
    await expect(disks.inspect(ctx, file)).rejects.toMatchObject({
      code: "DISK_BACKING_REFUSED",
      message: expect.stringMatching(/\/etc\/shadow/),
    });
    // Named as whole, its backing file is not read: no byte of it is in what comes out.
    await disks.convert(ctx, { source: { file, format: "qcow2" }, target: path("out.raw"), format: "raw" });
    expect(readFileSync(path("out.raw")).every((byte) => byte === 0)).toBe(true);
  });

  test("an external data file", async () => {
    const file = fresh("qcow2");
    qemuImg("create", "-q", "-f", "qcow2", "-o", `data_file=${path("data")},data_file_raw=on`, file, "1M");
    await expect(disks.inspect(ctx, file)).rejects.toMatchObject({ code: "DISK_BACKING_REFUSED" });
  });

  test("encryption", async () => {
    const file = fresh("qcow2");
    // Not LUKS: to make its key qemu-img times the processor, and fails where a slice of it is too short to be seen.
    const key = ["--object", "secret,id=s,data=abcd1234", "-o", "encrypt.format=aes,encrypt.key-secret=s"];
    qemuImg("create", "-q", "-f", "qcow2", ...key, file, "1M");
    await expect(disks.inspect(ctx, file)).rejects.toMatchObject({ code: "DISK_ENCRYPTED" });
  });

  test.each(["monolithicFlat", "twoGbMaxExtentSparse"])("a vmdk of other files (%s)", async (subformat) => {
    const file = fresh("vmdk");
    qemuImg("create", "-q", "-f", "vmdk", "-o", `subformat=${subformat}`, file, "1M");
    await expect(disks.inspect(ctx, file)).rejects.toMatchObject({ status: 400 });
    await expect(disks.inspect(ctx, file, { format: "vmdk" })).rejects.toMatchObject({ status: 400 });
  });

  test("a sparse vmdk whose descriptor names another file", async () => {
    const file = fresh("vmdk");
    qemuImg("create", "-q", "-f", "vmdk", file, "1M");
    const bytes = readFileSync(file);
    const flat = bytes
      .toString("latin1")
      .replace(/SPARSE "\d+\.vmdk"/, 'FLAT "/etc/shadow" 0')
      .slice(0, bytes.length);
    writeFileSync(file, flat, "latin1");
    await expect(disks.inspect(ctx, file)).rejects.toMatchObject({
      code: "DISK_BACKING_REFUSED",
      message: expect.stringMatching(/\/etc\/shadow/),
    });
  });

  test("an absurd size", async () => {
    const file = fresh("qcow2");
    qemuImg("create", "-q", "-f", "qcow2", file, "2T");
    await expect(disks.inspect(ctx, file)).rejects.toMatchObject({ code: "DISK_TOO_LARGE" });
  });

  test.each(["qcow2", "vmdk", "vdi", "vhdx"] as const)("a %s that is cut off", async (format) => {
    const file = fresh(format);
    qemuImg("create", "-q", "-f", format, file, "1G");
    truncateSync(file, 700);
    await expect(disks.inspect(ctx, file)).rejects.toMatchObject({ code: "DISK_CORRUPT" });
  });

  test("rubbish behind a good magic number", async () => {
    for (const magic of ["QFI\xfb\0\0\0\x03", "KDMV", "vhdxfile", "conectix"]) {
      const file = fresh("img");
      writeFileSync(file, Buffer.concat([Buffer.from(magic, "latin1"), Buffer.alloc(1024 * 1024, 0xa5)]));
      await expect(disks.inspect(ctx, file)).rejects.toMatchObject({ status: 400 });
    }
  });

  test("a link, a directory and a pipe in place of a file", async () => {
    symlinkSync("/etc/hostname", path("link"));
    execFileSync("mkfifo", [path("pipe")]);
    for (const name of ["link", "pipe", "."]) {
      await expect(disks.inspect(ctx, path(name))).rejects.toMatchObject({ code: "DISK_FORMAT_UNSUPPORTED" });
    }
  });

  test("a disk that another process has open for writing", async () => {
    const file = fresh("qcow2");
    await disks.create(ctx, file, { size: 1024 * 1024 });
    const holder = spawn("qemu-io", ["-f", "qcow2", file], { stdio: ["pipe", "pipe", "ignore"] });
    try {
      await once(holder.stdout, "data");
      const disk = { file, format: "qcow2" } as const;
      await expect(disks.resize(ctx, disk, 2 * 1024 * 1024)).rejects.toMatchObject({
        code: "DISK_IN_USE",
        status: 409,
      });
      await expect(disks.inspect(ctx, file)).rejects.toMatchObject({ code: "DISK_IN_USE" });
      expect(await disks.inspect(ctx, file, { inUse: true })).toMatchObject({ virtualSize: 1024 * 1024 });
    } finally {
      holder.stdin.end("quit\n");
      await once(holder, "exit");
    }
  });

  test("a conversion that is given up leaves nothing", async () => {
    const file = fresh("raw");
    writeFileSync(file, randomBytes(32 * 1024 * 1024));
    const target = path("given-up.vmdk");
    const gone = new AbortController();
    const converting = disks.convert(withSignal(ctx, gone.signal), {
      source: { file, format: "raw" },
      target,
      format: "vmdk",
      subformat: "streamOptimized",
      progress: () => gone.abort(new Error("the client went away")),
    });
    await expect(converting).rejects.toThrow("the client went away");
    expect(readdirSync(directory).filter((name) => name.startsWith("given-up"))).toEqual([]);
  });

  test("damage is found and mended", async () => {
    const file = fresh("qcow2");
    await disks.create(ctx, file, { size: 16 * 1024 * 1024 });
    execFileSync("qemu-io", ["-f", "qcow2", "-c", "write 0 1M", file], { stdio: "ignore" });
    const bytes = readFileSync(file);
    // The refcount block is the third cluster: one of data is counted twice.
    bytes.writeUInt16BE(2, 2 * 65536 + 2 * 8);
    writeFileSync(file, bytes);
    const disk = { file, format: "qcow2" } as const;
    expect(await disks.check(ctx, disk)).toMatchObject({ leaks: 1 });
    expect(await disks.check(ctx, disk, { repair: true })).toMatchObject({ leaks: 0, repaired: 1 });
    expect(await disks.check(ctx, disk)).toEqual({ corruptions: 0, leaks: 0, repaired: 0 });
  });

  test.each([
    ["everybody's", 0o644, 0],
    ["another user's", 0o400, 107],
  ])("a file that is %s is read, and left as it is", async (_, mode, uid) => {
    const file = fresh("qcow2");
    qemuImg("create", "-q", "-f", "qcow2", file, "1M");
    chmodSync(file, mode);
    chownSync(file, uid, uid);
    const before = statSync(file);
    expect(await disks.inspect(ctx, file)).toMatchObject({ virtualSize: 1024 * 1024 });
    await disks.convert(ctx, { source: { file, format: "qcow2" }, target: fresh("raw"), format: "raw" });
    const { uid: owner, gid, mode: after, ctimeMs } = statSync(file);
    expect({ owner, gid, after, ctimeMs }).toEqual({
      owner: before.uid,
      gid: before.gid,
      after: before.mode,
      ctimeMs: before.ctimeMs,
    });
  });

  test("the tool has no rights and no way to other files", async () => {
    const file = fresh("qcow2");
    await disks.create(ctx, file, { size: 1024 * 1024 });
    expect(statSync(file)).toMatchObject({ uid: 0, gid: diskToolId });
    expect(statSync(file).mode & 0o007).toBe(0);
    writeFileSync(path("secret"), "x".repeat(512), { mode: 0o600 });
    const words = ["info", path("secret")];
    const result = await runConfined(ctx, host.processes, {
      words,
      files: [],
      verb: "read",
      name: "x",
      timeoutMs: 30_000,
    });
    expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(/Permission denied/) });
  });
});
