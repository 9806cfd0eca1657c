import { readFileSync } from "node:fs";
import type { ResourceSpec, ResourceUsage } from "../../schema/resources.ts";
import type { CgroupSample } from "../cgroup.ts";
import { named } from "../kernel/worker-failure.ts";
import type { CgroupTree } from "./cgroup-tree.ts";
import { CgroupV1 } from "./cgroup-v1.ts";
import { CgroupV2 } from "./cgroup-v2.ts";
import { type CgroupHierarchies, findHierarchies } from "./hierarchies.ts";
import { SampledFiles } from "./sampled-files.ts";

/** What the kernel worker can be asked about control groups. */
export interface CgroupCalls {
  cgroupCreate(path: string): void;
  cgroupEnter(path: string, pid: number): void;
  cgroupApplyLimits(path: string, resources: ResourceSpec): void;
  cgroupUsage(path: string): ResourceUsage;
  /** Keeps the files of these groups open for the next time, and closes those of others. */
  cgroupSamples(paths: readonly string[]): readonly (CgroupSample | undefined)[];
  cgroupProcesses(path: string): readonly number[];
  cgroupSetFrozen(path: string, frozen: boolean): void;
  cgroupIsFrozen(path: string): boolean;
  cgroupOomKills(path: string): number;
  cgroupKill(path: string): void;
  cgroupRemove(path: string): boolean;
  cgroupChildren(parent: string): readonly string[];
}

export const cgroupCalls: CgroupCalls = {
  cgroupCreate: (path) => named("cgroup-create", path, () => tree().create(path)),
  cgroupEnter: (path, pid) => named("cgroup-enter", path, () => tree().enter(path, pid)),
  cgroupApplyLimits: (path, resources) => named("cgroup-limits", path, () => tree().applyLimits(path, resources)),
  cgroupUsage: (path) => named("cgroup-usage", path, () => tree().usage(path)),
  cgroupSamples: (paths) => {
    sampled.retain(new Set(paths));
    return paths.map((path) =>
      named("cgroup-usage", path, () => tree().sample(path, (file) => sampled.read(path, file))),
    );
  },
  cgroupProcesses: (path) => named("cgroup-processes", path, () => tree().processes(path)),
  cgroupSetFrozen: (path, frozen) =>
    named(frozen ? "cgroup-freeze" : "cgroup-thaw", path, () => tree().setFrozen(path, frozen)),
  cgroupIsFrozen: (path) => named("cgroup-state", path, () => tree().isFrozen(path)),
  cgroupOomKills: (path) => named("cgroup-oom-kills", path, () => tree().oomKills(path)),
  cgroupKill: (path) => named("cgroup-kill", path, () => tree().kill(path)),
  cgroupRemove: (path) => named("cgroup-remove", path, () => tree().remove(path)),
  cgroupChildren: (parent) => named("cgroup-children", parent, () => tree().children(parent)),
};

/** The tree over these hierarchies. */
export function cgroupTree(hierarchies: CgroupHierarchies): CgroupTree {
  return hierarchies.mode === "v2" ? new CgroupV2(hierarchies) : new CgroupV1(hierarchies);
}

const sampled = new SampledFiles();

let found: CgroupTree | undefined;

function tree(): CgroupTree {
  found ??= cgroupTree(findHierarchies(readFileSync("/proc/thread-self/mountinfo", "utf8")));
  return found;
}
