import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import type { Host } from "../../../src/host/host.ts";
import { openHost } from "./linux-host.ts";

const ctx = background();
let host: Host;
let directory: string;
const at = (...names: string[]) => join(directory, ...names);

beforeEach(async () => {
  host = await openHost();
  directory = mkdtempSync(join(tmpdir(), "berth-mounts-"));
  for (const name of ["lower", "upper", "work", "merged", "target"]) mkdirSync(at(name));
});

afterEach(async () => {
  const mounts = await host.kernel.mounts(directory);
  for (const { target } of mounts.toReversed()) await host.kernel.apply(ctx, [{ op: "unmount", target, detach: true }]);
  await host.close();
  rmSync(directory, { recursive: true });
});

const optionsOf = (target: string) =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .find((line) => line.split(" ")[4] === target)
    ?.split(" - ")[0]
    ?.split(" ")
    .slice(5)
    .join(" ") ?? "";

describe("mount", () => {
  it("stacks an overlay", async () => {
    writeFileSync(at("lower", "file"), "below");
    const data = `lowerdir=${at("lower")},upperdir=${at("upper")},workdir=${at("work")}`;
    await host.kernel.apply(ctx, [{ op: "mount", source: "overlay", target: at("merged"), fstype: "overlay", data }]);
    writeFileSync(at("merged", "file"), "above");
    expect([readFileSync(at("lower", "file"), "utf8"), readFileSync(at("upper", "file"), "utf8")]).toEqual([
      "below",
      "above",
    ]);
  });

  it("binds with attributes and a propagation in one operation", async () => {
    await host.kernel.apply(ctx, [
      {
        op: "mount",
        source: at("lower"),
        target: at("target"),
        flags: ["bind", "ro", "nosuid", "nodev", "noexec", "private"],
      },
    ]);
    const options = optionsOf(at("target"));
    for (const word of ["ro", "nosuid", "nodev", "noexec"]) expect(options.split(/[ ,]/)).toContain(word);
    expect(() => writeFileSync(at("target", "x"), "")).toThrow(/EROFS/);
    writeFileSync(at("lower", "x"), "");
  });

  it("makes a recursive bind read-only all the way down", async () => {
    mkdirSync(at("lower", "inner"));
    await host.kernel.apply(ctx, [
      { op: "mount", source: "none", target: at("lower", "inner"), fstype: "tmpfs", data: "size=1m" },
      { op: "mount", source: at("lower"), target: at("target"), flags: ["bind", "rec", "ro"] },
    ]);
    expect(() => writeFileSync(at("target", "inner", "x"), "")).toThrow(/EROFS/);
    writeFileSync(at("lower", "inner", "x"), "");
  });

  it("changes a mount that is there: propagation, and read-only", async () => {
    const mount = { op: "mount", source: "none", target: at("target") } as const;
    await host.kernel.apply(ctx, [
      { ...mount, fstype: "tmpfs" },
      { ...mount, flags: ["shared"] },
      { ...mount, flags: ["remount", "bind", "ro"] },
    ]);
    expect(optionsOf(at("target"))).toMatch(/^ro,.*shared:\d+/);
    await host.kernel.apply(ctx, [{ ...mount, flags: ["rslave"] }]);
    expect(optionsOf(at("target"))).not.toContain("shared");
  });

  it("names the errno, and leaves no mount when a later step fails", async () => {
    await expect(
      host.kernel.apply(ctx, [{ op: "mount", source: "none", target: at("target"), fstype: "nosuchfs" }]),
    ).rejects.toMatchObject({ code: "KERNEL_OP_FAILED", message: expect.stringMatching(/^mount \/.*target: ENODEV/) });
    await expect(
      host.kernel.apply(ctx, [{ op: "mount", source: at("no"), target: at("target"), flags: ["bind", "ro"] }]),
    ).rejects.toThrow(/ENOENT/);
    expect(await host.kernel.mounts(directory)).toEqual([]);
  });
});

describe("unmount", () => {
  it("refuses what is busy unless it is detached", async () => {
    const target = at("target");
    await host.kernel.apply(ctx, [{ op: "mount", source: "none", target, fstype: "tmpfs" }]);
    const child = await host.processes.spawn(ctx, { argv: ["sleep", "100"], env: {}, cwd: target });
    await expect(host.kernel.apply(ctx, [{ op: "unmount", target }])).rejects.toThrow(/EBUSY/);
    await host.kernel.apply(ctx, [{ op: "unmount", target, detach: true }]);
    expect(await host.kernel.mounts(directory)).toEqual([]);
    host.processes.signal(child.identity, 9);
    await child.exited;
  });
});

describe("readInRoot", () => {
  it("follows links inside the root only", async () => {
    writeFileSync(at("lower", "real"), "inside");
    symlinkSync("/real", at("lower", "absolute"));
    symlinkSync("../../../../real", at("lower", "climbing"));
    symlinkSync("/etc/hostname", at("lower", "escaping"));
    symlinkSync("loop", at("lower", "loop"));
    linkSync(at("lower", "real"), at("lower", "hard"));
    const read = async (path: string) => {
      const bytes = await host.kernel.readInRoot(at("lower"), path, 100);
      return bytes === undefined ? undefined : Buffer.from(bytes).toString();
    };
    expect(await read("absolute")).toBe("inside");
    expect(await read("/climbing")).toBe("inside");
    expect(await read("hard")).toBe("inside");
    expect(await read("escaping")).toBeUndefined();
    expect(await read("loop")).toBeUndefined();
  });

  it("opens neither FIFOs nor devices", async () => {
    await host.kernel.apply(ctx, [
      { op: "mknod", path: at("lower", "fifo"), type: "fifo", mode: 0o644, major: 0, minor: 0 },
      { op: "mknod", path: at("lower", "zero"), type: "char", mode: 0o666, major: 1, minor: 5 },
    ]);
    for (const name of ["fifo", "zero"]) {
      await expect(host.kernel.readInRoot(at("lower"), name, 100)).rejects.toMatchObject({ code: "READ_REFUSED" });
    }
  });

  it("reads files of /proc, whose size says 0", async () => {
    const bytes = await host.kernel.readInRoot("/proc", "self/comm", 100);
    expect(bytes?.length).toBeGreaterThan(1);
    await expect(host.kernel.readInRoot("/proc", "cpuinfo", 100)).rejects.toThrow(/100 bytes/);
  });
});

describe("mknod", () => {
  it("makes devices with exactly the mode asked for", async () => {
    await host.kernel.apply(ctx, [
      { op: "mknod", path: at("whiteout"), type: "char", mode: 0, major: 0, minor: 0 },
      { op: "mknod", path: at("disk"), type: "block", mode: 0o666, major: 259, minor: 300 },
    ]);
    const whiteout = statSync(at("whiteout"));
    expect([whiteout.isCharacterDevice(), whiteout.rdev, whiteout.mode & 0o7777]).toEqual([true, 0, 0]);
    const disk = statSync(at("disk"));
    expect([disk.isBlockDevice(), disk.rdev, disk.mode & 0o7777]).toEqual([true, 0x11032c, 0o666]);
  });
});

it("holds a lock against other processes, and until death only", async () => {
  const path = at("lock");
  const held = await host.kernel.lock(path);
  const flock = () => host.processes.run(ctx, { argv: ["flock", "-n", path, "true"] });
  expect((await flock()).code).toBe(1);
  // A child that outlives us must not keep it.
  const child = await host.processes.spawn(ctx, { argv: ["sleep", "100"], env: {} });
  held[Symbol.dispose]();
  expect((await flock()).code).toBe(0);
  host.processes.signal(child.identity, 9);
  await child.exited;
  const keeper = await host.processes.spawn(ctx, { argv: ["flock", path, "sleep", "100"], env: {} });
  await expect.poll(async () => (await flock()).code).toBe(1);
  await expect(host.kernel.lock(path)).rejects.toMatchObject({
    code: "LOCK_HELD",
    message: expect.stringMatching(/process \d+/),
  });
  process.kill(-keeper.identity.pid, "SIGKILL");
  await keeper.exited;
  await expect.poll(async () => (await flock()).code).toBe(0);
  (await host.kernel.lock(path))[Symbol.dispose]();
  expect(existsSync(path)).toBe(true);
});
