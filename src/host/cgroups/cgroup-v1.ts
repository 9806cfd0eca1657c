import { existsSync } from "node:fs";
import type { ResourceSpec, ResourceUsage } from "../../schema/resources.ts";
import { makeDirectories } from "../kernel/make-directories.ts";
import type { CgroupSample } from "../cgroup.ts";
import {
  LimitWriter,
  deviceNumber,
  groupNames,
  groupsBelow,
  keyedNumber,
  readKeyed,
  readNumber,
  readProcesses,
  readText,
  removeGroups,
  writeGroupFile,
} from "./cgroup-files.ts";
import type { CgroupTree, ReadFile } from "./cgroup-tree.ts";
import { cpuQuotaOf } from "./cpu-quota.ts";
import type { CgroupHierarchies } from "./hierarchies.ts";
import { killProcesses } from "./kill-processes.ts";

/** cgroup v1, one hierarchy for each controller, with or without an empty v2 tree beside them (hybrid). */
export class CgroupV1 implements CgroupTree {
  readonly #hierarchies: CgroupHierarchies;

  constructor(hierarchies: CgroupHierarchies) {
    this.#hierarchies = hierarchies;
  }

  create(path: string): void {
    for (const directory of this.#hierarchies.directories) makeDirectories(`${directory}${path}`, 0o755);
    this.#fillCpuset(path);
  }

  enter(path: string, pid: number): void {
    for (const directory of this.#hierarchies.directories) {
      const procs = `${directory}${path}/cgroup.procs`;
      // A runtime makes no group in a hierarchy without controllers.
      if (existsSync(procs)) writeGroupFile(procs, String(pid));
    }
  }

  applyLimits(path: string, resources: ResourceSpec): void {
    const writer = new LimitWriter(path);
    const write = (controller: string, file: string, value: number | string, limit: string) =>
      writer.write(this.#hierarchies.controllers.get(controller), file, String(value), limit);

    this.#applyMemory(path, resources, write);
    if (resources.cpuShares > 0) write("cpu", "cpu.shares", resources.cpuShares, "cpuShares");
    const cpu = cpuQuotaOf(resources);
    if (cpu !== undefined || resources.cpuPeriod > 0) {
      write("cpu", "cpu.cfs_period_us", cpu?.period ?? resources.cpuPeriod, "cpuPeriod");
    }
    if (cpu !== undefined) write("cpu", "cpu.cfs_quota_us", cpu.quota, cpu.limit);
    if (resources.cpusetCpus !== "") write("cpuset", "cpuset.cpus", resources.cpusetCpus, "cpusetCpus");
    if (resources.cpusetMems !== "") write("cpuset", "cpuset.mems", resources.cpusetMems, "cpusetMems");
    if (resources.pidsLimit !== 0) {
      write("pids", "pids.max", resources.pidsLimit < 0 ? "max" : resources.pidsLimit, "pidsLimit");
    }
    this.#applyBlkio(path, resources, write);
  }

  usage(path: string): ResourceUsage {
    const file = (controller: string, name: string) =>
      `${this.#hierarchies.controllers.get(controller) ?? "/nonexistent"}${path}/${name}`;
    const memoryStat = readKeyed(file("memory", "memory.stat"));
    const cpuStat = readKeyed(file("cpu", "cpu.stat"));
    const io = sumBlkio(
      readText(file("blkio", "blkio.throttle.io_service_bytes_recursive")) ??
        readText(file("blkio", "blkio.throttle.io_service_bytes")) ??
        "",
    );
    return {
      cpuTotalNs: readNumber(file("cpuacct", "cpuacct.usage")),
      cpuUserNs: readNumber(file("cpuacct", "cpuacct.usage_user")),
      cpuSystemNs: readNumber(file("cpuacct", "cpuacct.usage_sys")),
      cpuThrottledPeriods: cpuStat["nr_throttled"] ?? 0,
      cpuThrottledNs: cpuStat["throttled_time"] ?? 0,
      memoryBytes: readNumber(file("memory", "memory.usage_in_bytes")),
      memoryInactiveFileBytes: memoryStat["total_inactive_file"] ?? 0,
      memoryLimitBytes: readNumber(file("memory", "memory.limit_in_bytes")),
      memoryMaxBytes: readNumber(file("memory", "memory.max_usage_in_bytes")),
      memoryStat,
      oomKills: this.oomKills(path),
      pids: readNumber(file("pids", "pids.current")),
      pidsLimit: readNumber(file("pids", "pids.max")),
      blkioReadBytes: io.read,
      blkioWriteBytes: io.write,
    };
  }

  sample(path: string, read: ReadFile): CgroupSample | undefined {
    const text = (controller: string, name: string) =>
      read(`${this.#hierarchies.controllers.get(controller) ?? "/nonexistent"}${path}/${name}`);
    const cpu = text("cpuacct", "cpuacct.usage");
    if (cpu === undefined) return undefined;
    const io = sumBlkio(
      text("blkio", "blkio.throttle.io_service_bytes_recursive") ??
        text("blkio", "blkio.throttle.io_service_bytes") ??
        "",
    );
    return {
      cpuNs: Number(cpu),
      memoryBytes: Number(text("memory", "memory.usage_in_bytes") ?? 0),
      inactiveFileBytes: keyedNumber(text("memory", "memory.stat") ?? "", "total_inactive_file"),
      pids: Number(text("pids", "pids.current") ?? 0),
      readBytes: io.read,
      writtenBytes: io.write,
    };
  }

  processes(path: string): readonly number[] {
    const all = this.#hierarchies.directories.flatMap((directory) => readProcesses(`${directory}${path}`));
    return [...new Set(all)].sort((a, b) => a - b);
  }

  setFrozen(path: string, frozen: boolean): void {
    const directory = this.#hierarchies.controllers.get("freezer");
    // Nothing to thaw where nothing can be frozen.
    if (directory === undefined && !frozen) return;
    writeGroupFile(`${directory ?? "/nonexistent"}${path}/freezer.state`, frozen ? "FROZEN" : "THAWED");
  }

  isFrozen(path: string): boolean {
    const directory = this.#hierarchies.controllers.get("freezer");
    return directory !== undefined && readText(`${directory}${path}/freezer.state`) === "FROZEN";
  }

  oomKills(path: string): number {
    const directory = this.#hierarchies.controllers.get("memory");
    return directory === undefined ? 0 : (readKeyed(`${directory}${path}/memory.oom_control`)["oom_kill"] ?? 0);
  }

  kill(path: string): void {
    killProcesses(() => this.processes(path));
    // A frozen process dies only when it is thawed; what runs in the group may have frozen groups of its own below.
    const freezer = this.#hierarchies.controllers.get("freezer");
    if (freezer === undefined) return;
    for (const group of [`${freezer}${path}`, ...groupsBelow(`${freezer}${path}`)]) {
      if ((readText(`${group}/freezer.state`) ?? "THAWED") !== "THAWED") {
        writeGroupFile(`${group}/freezer.state`, "THAWED");
      }
    }
  }

  remove(path: string): boolean {
    const removed = this.#hierarchies.directories.map((directory) => removeGroups(`${directory}${path}`));
    return removed.every((done) => done);
  }

  children(parent: string): readonly string[] {
    const names = this.#hierarchies.directories.flatMap((directory) => groupNames(`${directory}${parent}`));
    return [...new Set(names)].sort();
  }

  /** A v1 cpuset without CPUs or memory nodes lets no process in (ENOSPC): each new one gets its parent's. */
  #fillCpuset(path: string): void {
    const root = this.#hierarchies.controllers.get("cpuset");
    if (root === undefined) return;
    let parent = root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      const group = `${parent}/${name}`;
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        if (readText(`${group}/${file}`) !== "") continue;
        writeGroupFile(`${group}/${file}`, readText(`${parent}/${file}`) ?? "");
      }
      parent = group;
    }
  }

  #applyMemory(path: string, resources: ResourceSpec, write: WriteLimit): void {
    const { memory, memorySwap } = resources;
    const writeMemory = () => write("memory", "memory.limit_in_bytes", memory, "memory");
    const writeSwap = () => write("memory", "memory.memsw.limit_in_bytes", memorySwap, "memorySwap");
    if (memory !== 0 && memorySwap !== 0) {
      // The kernel wants memory <= memory + swap at every moment: raise the outer limit first, lower it last.
      const memsw = `${this.#hierarchies.controllers.get("memory") ?? ""}${path}/memory.memsw.limit_in_bytes`;
      const current = readNumber(memsw);
      const raises = memorySwap < 0 || (current !== 0 && memorySwap > current);
      for (const each of raises ? [writeSwap, writeMemory] : [writeMemory, writeSwap]) each();
    } else if (memory !== 0) {
      writeMemory();
    } else if (memorySwap !== 0) {
      writeSwap();
    }
    if (resources.memoryReservation !== 0) {
      write("memory", "memory.soft_limit_in_bytes", resources.memoryReservation, "memoryReservation");
    }
    if (resources.memorySwappiness !== null && resources.memorySwappiness >= 0) {
      write("memory", "memory.swappiness", resources.memorySwappiness, "memorySwappiness");
    }
    if (resources.oomKillDisable) write("memory", "memory.oom_control", 1, "oomKillDisable");
  }

  #applyBlkio(path: string, resources: ResourceSpec, write: WriteLimit): void {
    const directory = `${this.#hierarchies.controllers.get("blkio") ?? ""}${path}`;
    // Weights belong to the I/O scheduler: BFQ's file, or the old CFQ's.
    const scheduler = readText(`${directory}/blkio.bfq.weight`) === undefined ? "blkio" : "blkio.bfq";
    if (resources.blkioWeight > 0) write("blkio", `${scheduler}.weight`, resources.blkioWeight, "blkioWeight");
    for (const { path: device, weight } of resources.blkioWeightDevice) {
      const number = deviceNumber(device, "blkioWeightDevice");
      write("blkio", `${scheduler}.weight_device`, `${number} ${weight}`, "blkioWeightDevice");
    }
    for (const [limit, file] of throttles) {
      for (const { path: device, rate } of resources[limit]) {
        write("blkio", file, `${deviceNumber(device, limit)} ${rate}`, limit);
      }
    }
  }
}

type WriteLimit = (controller: string, file: string, value: number | string, limit: string) => void;

const throttles = [
  ["blkioDeviceReadBps", "blkio.throttle.read_bps_device"],
  ["blkioDeviceWriteBps", "blkio.throttle.write_bps_device"],
  ["blkioDeviceReadIops", "blkio.throttle.read_iops_device"],
  ["blkioDeviceWriteIops", "blkio.throttle.write_iops_device"],
] as const;

/** Lines "8:0 Read 4096". */
function sumBlkio(text: string): { readonly read: number; readonly write: number } {
  let read = 0;
  let write = 0;
  for (const line of text.split("\n")) {
    const [, operation, bytes] = line.split(" ");
    if (operation === "Read") read += Number(bytes);
    if (operation === "Write") write += Number(bytes);
  }
  return { read, write };
}
