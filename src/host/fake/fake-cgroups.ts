import type { OpContext } from "../../base/op-context.ts";
import { noUsage, type ResourceSpec, type ResourceUsage } from "../../schema/resources.ts";
import type { CgroupDriver, CgroupFeatures, CgroupSample } from "../cgroup.ts";
import { hostErrors } from "../errors.ts";

/** A group of the model; tests may change it. */
export interface FakeCgroup {
  readonly limits: ResourceSpec[];
  readonly processes: Set<number>;
  frozen: boolean;
  oomKills: number;
  usage: ResourceUsage;
}

/** Control groups as a model in memory. */
export class FakeCgroups implements CgroupDriver {
  readonly mode: CgroupDriver["mode"];
  readonly controllers = ["blkio", "cpu", "cpuset", "memory", "pids"];
  readonly features: CgroupFeatures = {
    memoryLimit: true,
    swapLimit: true,
    swappiness: true,
    oomKillDisable: true,
    cpuShares: true,
    cpuQuota: true,
    cpuset: true,
    pidsLimit: true,
    blkioThrottle: true,
    blkioWeight: true,
    blkioWeightDevice: true,
  };
  readonly groups = new Map<string, FakeCgroup>();
  /** Called for each pid that {@link kill} strikes. */
  onKill: (pid: number) => void = () => {};

  constructor(mode: CgroupDriver["mode"] = "v2") {
    this.mode = mode;
  }

  async create(_ctx: OpContext, path: string): Promise<void> {
    const parts = path.split("/").slice(1);
    for (let count = 1; count <= parts.length; count++) {
      const group = `/${parts.slice(0, count).join("/")}`;
      if (!this.groups.has(group)) this.groups.set(group, emptyGroup());
    }
  }

  expectMove(): void {}

  async enter(_ctx: OpContext, path: string, pid: number): Promise<void> {
    const group = this.#group(path, "cgroup-enter");
    for (const other of this.groups.values()) other.processes.delete(pid);
    group.processes.add(pid);
  }

  async applyLimits(_ctx: OpContext, path: string, resources: ResourceSpec): Promise<void> {
    this.#group(path, "cgroup-limits").limits.push(resources);
  }

  async usage(path: string): Promise<ResourceUsage> {
    const group = this.#group(path, "cgroup-usage");
    return { ...group.usage, oomKills: group.oomKills, pids: (await this.processes(path)).length };
  }

  async samples(paths: readonly string[]): Promise<readonly (CgroupSample | undefined)[]> {
    return await Promise.all(
      paths.map(async (path) => {
        const group = this.groups.get(path);
        if (group === undefined) return undefined;
        const { cpuTotalNs, memoryBytes, memoryInactiveFileBytes, blkioReadBytes, blkioWriteBytes } = group.usage;
        return {
          cpuNs: cpuTotalNs,
          memoryBytes,
          inactiveFileBytes: memoryInactiveFileBytes,
          pids: (await this.processes(path)).length,
          readBytes: blkioReadBytes,
          writtenBytes: blkioWriteBytes,
        };
      }),
    );
  }

  async processes(path: string): Promise<readonly number[]> {
    return this.#subtree(path)
      .flatMap(([, group]) => [...group.processes])
      .sort((a, b) => a - b);
  }

  async freeze(_ctx: OpContext, path: string): Promise<void> {
    this.#group(path, "cgroup-freeze").frozen = true;
  }

  async thaw(_ctx: OpContext, path: string): Promise<void> {
    this.#group(path, "cgroup-thaw").frozen = false;
  }

  async isFrozen(path: string): Promise<boolean> {
    return this.groups.get(path)?.frozen ?? false;
  }

  async oomKills(path: string): Promise<number> {
    return this.groups.get(path)?.oomKills ?? 0;
  }

  async kill(_ctx: OpContext, path: string): Promise<void> {
    for (const [, group] of this.#subtree(path)) {
      for (const pid of group.processes) this.onKill(pid);
      group.processes.clear();
      group.frozen = false;
    }
  }

  async remove(ctx: OpContext, path: string): Promise<void> {
    await this.kill(ctx, path);
    for (const [name] of this.#subtree(path)) this.groups.delete(name);
  }

  async children(parent: string): Promise<readonly string[]> {
    return [...this.groups.keys()]
      .filter((name) => name.startsWith(`${parent}/`) && !name.slice(parent.length + 1).includes("/"))
      .map((name) => name.slice(parent.length + 1))
      .sort();
  }

  #subtree(path: string): readonly (readonly [string, FakeCgroup])[] {
    return [...this.groups].filter(([name]) => name === path || name.startsWith(`${path}/`));
  }

  #group(path: string, op: string): FakeCgroup {
    const group = this.groups.get(path);
    if (group !== undefined) return group;
    throw hostErrors.KERNEL_OP_FAILED({ op, target: path, errno: "ENOENT", text: "no such control group" });
  }
}

function emptyGroup(): FakeCgroup {
  return { limits: [], processes: new Set(), frozen: false, oomKills: 0, usage: noUsage };
}
