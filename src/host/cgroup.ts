/**
 * Control groups, over v1, hybrid and v2. A group is named by a path relative to the controllers' roots
 * ("/berth-1a2b/<id>"). Only groups under the parents that the caller names are ever touched.
 */
import type { OpContext } from "../base/op-context.ts";
import type { ResourceSpec, ResourceUsage } from "../schema/resources.ts";

export interface CgroupDriver {
  /** "hybrid": v1 controllers beside an empty v2 tree at `unified`. */
  readonly mode: "v1" | "hybrid" | "v2";
  readonly controllers: readonly string[];
  readonly features: CgroupFeatures;
  /** Makes the group (and its parents) in every hierarchy; with cpuset filled on v1. Existing is no error. */
  create(ctx: OpContext, path: string): Promise<void>;
  /**
   * Says that a process will be moved into a group soon (by an OCI runtime). Where the kernel makes the first mover wait, the wait
   * begins now, beside the other work. A hint: returns at once and does not fail.
   */
  expectMove(): void;
  /** Moves a process with all its threads into the group. What it has used before stays with the group that it was in. */
  enter(ctx: OpContext, path: string, pid: number): Promise<void>;
  /** Writes the stated limits; what is 0 or "" is left alone. `CGROUP_LIMIT_REJECTED` names the limit and the kernel's reason. */
  applyLimits(ctx: OpContext, path: string, resources: ResourceSpec): Promise<void>;
  /** Limits that are not set are 0. */
  usage(path: string): Promise<ResourceUsage>;
  /** The few figures that tell how each group is doing now, for following many of them; undefined for one that is gone. */
  samples(paths: readonly string[]): Promise<readonly (CgroupSample | undefined)[]>;
  /** Pids in the group and below. */
  processes(path: string): Promise<readonly number[]>;
  freeze(ctx: OpContext, path: string): Promise<void>;
  thaw(ctx: OpContext, path: string): Promise<void>;
  isFrozen(path: string): Promise<boolean>;
  /** Times the OOM killer struck here. */
  oomKills(path: string): Promise<number>;
  /** SIGKILL to everything in it (cgroup.kill where there is one), thawing first. */
  kill(ctx: OpContext, path: string): Promise<void>;
  /** Kills what is left and removes the group in every hierarchy. Missing is no error. */
  remove(ctx: OpContext, path: string): Promise<void>;
  /** Names of the groups directly under `parent`. */
  children(parent: string): Promise<readonly string[]>;
}

/** Counters since the group's beginning, and what it has now. */
export interface CgroupSample {
  readonly cpuNs: number;
  readonly memoryBytes: number;
  /** Of these, page cache that can go. */
  readonly inactiveFileBytes: number;
  readonly pids: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

/** Which limits this kernel can enforce (`docker info` shows them); stating one that it can't is `CGROUP_LIMIT_REJECTED`. */
export interface CgroupFeatures {
  readonly memoryLimit: boolean;
  readonly swapLimit: boolean;
  readonly swappiness: boolean;
  readonly oomKillDisable: boolean;
  readonly cpuShares: boolean;
  readonly cpuQuota: boolean;
  readonly cpuset: boolean;
  readonly pidsLimit: boolean;
  readonly blkioThrottle: boolean;
  /** Only some I/O schedulers weigh. */
  readonly blkioWeight: boolean;
  readonly blkioWeightDevice: boolean;
}
