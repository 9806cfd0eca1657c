import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findFeatures, findHierarchies } from "./hierarchies.ts";

let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "berth-cgroup-"));
  writeFileSync(join(root, "cgroup.controllers"), "cpuset cpu io memory pids\n");
});

afterAll(() => rmSync(root, { recursive: true }));

const line = (id: number, path: string, fstype: string, options: string) =>
  `${id} 1 0:${id} / ${path} rw,relatime - ${fstype} ${fstype} ${options}\n`;

describe("findHierarchies", () => {
  it("knows v1, with controllers that share a hierarchy", () => {
    const text =
      line(1, "/sys/fs/cgroup", "tmpfs", "rw") +
      line(2, "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct") +
      line(3, "/sys/fs/cgroup/memory", "cgroup", "rw,memory") +
      line(4, "/sys/fs/cgroup/systemd", "cgroup", "rw,xattr,name=systemd");
    const found = findHierarchies(text);
    expect(found.mode).toBe("v1");
    expect(found.controllers.get("cpuacct")).toBe("/sys/fs/cgroup/cpu,cpuacct");
    expect(found.directories).toEqual([
      "/sys/fs/cgroup/cpu,cpuacct",
      "/sys/fs/cgroup/memory",
      "/sys/fs/cgroup/systemd",
    ]);
  });

  it("knows hybrid, and takes each hierarchy's first mount", () => {
    const text =
      line(2, "/sys/fs/cgroup/memory", "cgroup", "rw,memory") +
      line(3, "/sys/fs/cgroup/unified", "cgroup2", "rw") +
      line(4, "/elsewhere/memory", "cgroup", "rw,memory") +
      line(5, "/elsewhere/unified", "cgroup2", "rw");
    expect(findHierarchies(text)).toMatchObject({
      mode: "hybrid",
      unified: "/sys/fs/cgroup/unified",
      directories: ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"],
    });
  });

  it("knows v2 by its root's controllers", () => {
    const found = findHierarchies(line(2, root, "cgroup2", "rw"));
    expect(found.mode).toBe("v2");
    expect([...found.controllers]).toEqual(["cpuset", "cpu", "io", "memory", "pids"].map((name) => [name, root]));
  });

  it("finds nothing where nothing is mounted", () => {
    const found = findHierarchies(line(2, "/", "ext4", "rw"));
    expect([...found.controllers]).toEqual([]);
    expect(findFeatures(found).memoryLimit).toBe(false);
  });
});

describe("findFeatures", () => {
  it("looks for v2's swap limit in a group, since the root has none", () => {
    const hierarchies = findHierarchies(line(2, root, "cgroup2", "rw"));
    expect(findFeatures(hierarchies)).toMatchObject({ swapLimit: true, swappiness: false, blkioThrottle: true });
    mkdirSync(join(root, "system.slice"));
    writeFileSync(join(root, "system.slice/memory.max"), "max");
    expect(findFeatures(hierarchies).swapLimit).toBe(false);
    writeFileSync(join(root, "system.slice/memory.swap.max"), "max");
    expect(findFeatures(hierarchies).swapLimit).toBe(true);
  });

  it("looks for v2's block I/O weights in a group too", () => {
    const hierarchies = findHierarchies(line(2, root, "cgroup2", "rw"));
    mkdirSync(join(root, "one"));
    writeFileSync(join(root, "one/io.stat"), "");
    expect(findFeatures(hierarchies)).toMatchObject({ blkioWeight: false, blkioWeightDevice: false });
    writeFileSync(join(root, "one/io.bfq.weight"), "default 100");
    expect(findFeatures(hierarchies)).toMatchObject({ blkioWeight: true, blkioWeightDevice: false });
  });

  it("goes by the files of v1", () => {
    const memory = join(root, "memory");
    mkdirSync(memory);
    writeFileSync(join(memory, "memory.swappiness"), "60");
    const features = findFeatures(findHierarchies(line(2, memory, "cgroup", "rw,memory")));
    expect(features).toMatchObject({ memoryLimit: true, swapLimit: false, swappiness: true, oomKillDisable: false });
  });
});
