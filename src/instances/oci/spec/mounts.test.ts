import { describe, expect, it } from "vitest";
import type { ResolvedMount } from "../../driver.ts";
import { containerMounts, rootPropagation } from "./mounts.ts";

const bind = (target: string, ...options: string[]): ResolvedMount => ({
  type: "bind",
  source: `/src${target}`,
  target,
  options: options.length === 0 ? ["rbind", "rprivate"] : options,
});
const base = {
  mounts: [],
  shmSize: 1024,
  ipcMode: "",
  privileged: false,
  readonlyRootfs: false,
  recursiveReadOnly: true,
};
const targets = (mounts: readonly ResolvedMount[], more: object = {}) =>
  containerMounts({ ...base, mounts, ...more }).map((mount) => mount.destination);
const optionsOf = (target: string, more: object) =>
  containerMounts({ ...base, ...more }).find((mount) => mount.destination === target)?.options;

describe("containerMounts", () => {
  it("has Docker's defaults", () => {
    expect(targets([])).toEqual(["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"]);
    expect(optionsOf("/dev/shm", {})).toEqual(["nosuid", "noexec", "nodev", "mode=1777", "size=1024"]);
  });

  it("orders own mounts by depth, and as given within one", () => {
    expect(targets([bind("/a/b/c"), bind("/z"), bind("/a/b"), bind("/a")]).slice(7)).toEqual([
      "/z",
      "/a",
      "/a/b",
      "/a/b/c",
    ]);
  });

  it("lets an own mount take a default's place, and /dev all that is below", () => {
    expect(targets([bind("/dev/shm")]).filter((target) => target === "/dev/shm")).toHaveLength(1);
    expect(targets([bind("/dev")])).toEqual(["/proc", "/sys", "/sys/fs/cgroup", "/dev"]);
  });

  it("has no /dev/shm without IPC", () => {
    expect(targets([], { ipcMode: "none" })).not.toContain("/dev/shm");
  });

  it("makes a recursive bind read-only with all that is mounted below, where that is possible", () => {
    const mounts = [bind("/data", "rbind", "ro", "rprivate")];
    expect(optionsOf("/data", { mounts })).toEqual(["rbind", "rro", "rprivate"]);
    expect(optionsOf("/data", { mounts, recursiveReadOnly: false })).toEqual(["rbind", "ro", "rprivate"]);
  });

  it("keeps tmpfs mounts harmless unless told otherwise", () => {
    const tmpfs = (...options: string[]): readonly ResolvedMount[] => [
      { type: "tmpfs", source: "tmpfs", target: "/tmp", options },
    ];
    expect(optionsOf("/tmp", { mounts: tmpfs() })).toEqual(["noexec", "nosuid", "nodev", "rprivate"]);
    expect(optionsOf("/tmp", { mounts: tmpfs("exec", "size=1m", "size=2m") })).toEqual([
      "nosuid",
      "nodev",
      "rprivate",
      "exec",
      "size=2m",
    ]);
  });

  it("keeps only what has to be writable under a read-only root", () => {
    expect(optionsOf("/sys/fs/cgroup", { readonlyRootfs: true })).toContain("ro");
    expect(optionsOf("/dev/shm", { readonlyRootfs: true })).not.toContain("ro");
  });

  it("opens /sys and the control groups to a privileged one", () => {
    expect(optionsOf("/sys", { privileged: true })).not.toContain("ro");
    expect(optionsOf("/sys/fs/cgroup", { privileged: true })).not.toContain("ro");
  });

  it("brings the init program", () => {
    expect(optionsOf("/sbin/docker-init", { init: "/usr/bin/tini-static" })).toEqual(["bind", "ro"]);
  });
});

describe("rootPropagation", () => {
  it("follows the most open of the mounts", () => {
    expect(rootPropagation([bind("/a")])).toBeUndefined();
    expect(rootPropagation([bind("/a", "rbind", "rslave")])).toBe("rslave");
    expect(rootPropagation([bind("/a", "rbind", "rslave"), bind("/b", "rbind", "shared")])).toBe("shared");
  });
});
