import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { CgroupFeatures } from "../cgroup.ts";

/** Where the control groups of this machine are mounted. */
export interface CgroupHierarchies {
  readonly mode: "v1" | "hybrid" | "v2";
  /** Directory of each controller's hierarchy; in v2 they share one. */
  readonly controllers: ReadonlyMap<string, string>;
  /** Directory of the cgroup v2 tree; undefined on pure v1. */
  readonly unified: string | undefined;
  /** Every hierarchy's directory, v1 ones without a controller (name=systemd) and the unified one included. */
  readonly directories: readonly string[];
}

/** From the text of /proc/self/mountinfo. In v2 the controllers are those that the tree's root says it has. */
export function findHierarchies(mountinfo: string): CgroupHierarchies {
  const controllers = new Map<string, string>();
  const directories: string[] = [];
  let unified: string | undefined;
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ", 2);
    const directory = before.split(" ")[4] ?? "";
    const [fstype, , options = ""] = after.split(" ");
    // A container engine's bind mounts of the same trees come later: the first mount of each counts.
    if (fstype === "cgroup2" && unified === undefined) {
      unified = directory;
      directories.push(directory);
    } else if (fstype === "cgroup") {
      const names = options.split(",").filter((option) => v1Controllers.has(option) && !controllers.has(option));
      const isNamed = options.includes("name=");
      if (names.length === 0 && !isNamed) continue;
      for (const name of names) controllers.set(name, directory);
      directories.push(directory);
    }
  }
  if (controllers.size > 0) return { mode: unified === undefined ? "v1" : "hybrid", controllers, unified, directories };
  if (unified === undefined) return { mode: "v1", controllers, unified, directories };
  for (const name of readWords(`${unified}/cgroup.controllers`)) controllers.set(name, unified);
  return { mode: "v2", controllers, unified, directories };
}

/** What can be limited here, by the files that the kernel offers. */
export function findFeatures(hierarchies: CgroupHierarchies): CgroupFeatures {
  const { controllers, mode } = hierarchies;
  const isV2 = mode === "v2";
  const has = (controller: string, v1File: string) => {
    const directory = controllers.get(controller);
    return directory !== undefined && !isV2 && existsSync(`${directory}/${v1File}`);
  };
  return {
    memoryLimit: controllers.has("memory"),
    swapLimit: isV2
      ? hasGroupFile(hierarchies, "memory", ["memory.swap.max"])
      : has("memory", "memory.memsw.limit_in_bytes"),
    swappiness: has("memory", "memory.swappiness"),
    oomKillDisable: has("memory", "memory.oom_control"),
    cpuShares: isV2 ? controllers.has("cpu") : has("cpu", "cpu.shares"),
    cpuQuota: isV2 ? controllers.has("cpu") : has("cpu", "cpu.cfs_quota_us"),
    cpuset: controllers.has("cpuset"),
    pidsLimit: controllers.has("pids"),
    blkioThrottle: isV2 ? controllers.has("io") : has("blkio", "blkio.throttle.read_bps_device"),
    blkioWeight: isV2 ? hasGroupFile(hierarchies, "io", ["io.weight", "io.bfq.weight"]) : has("blkio", "blkio.weight"),
    blkioWeightDevice: isV2 ? hasGroupFile(hierarchies, "io", ["io.weight"]) : has("blkio", "blkio.weight_device"),
  };
}

/** On v2 a controller's files are in every group but the root; without a group to look at, they are assumed. */
function hasGroupFile(
  { controllers, unified }: CgroupHierarchies,
  controller: string,
  files: readonly string[],
): boolean {
  if (!controllers.has(controller) || unified === undefined) return false;
  const groups = readdirSync(unified, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `${unified}/${entry.name}`)
    .filter((group) => existsSync(`${group}/${controller}.stat`) || existsSync(`${group}/${controller}.max`));
  return groups.length === 0 || groups.some((group) => files.some((file) => existsSync(`${group}/${file}`)));
}

function readWords(path: string): readonly string[] {
  return readFileSync(path, "utf8")
    .split(/\s+/)
    .filter((word) => word !== "");
}

const v1Controllers = new Set([
  "cpu",
  "cpuacct",
  "cpuset",
  "memory",
  "devices",
  "freezer",
  "blkio",
  "pids",
  "hugetlb",
  "net_cls",
  "net_prio",
  "perf_event",
  "rdma",
  "misc",
]);
