import type { ResourceSpec, ResourceUsage } from "../../schema/resources.ts";
import { errnoAndText } from "../kernel/worker-failure.ts";
import { makeDirectories } from "../kernel/make-directories.ts";
import type { CgroupSample } from "../cgroup.ts";
import {
  LimitWriter,
  deviceNumber,
  groupNames,
  keyedNumber,
  readKeyed,
  readNumber,
  readProcesses,
  readText,
  rejected,
  removeGroups,
  writeGroupFile,
} from "./cgroup-files.ts";
import type { CgroupTree, ReadFile } from "./cgroup-tree.ts";
import { cpuQuotaOf } from "./cpu-quota.ts";
import type { CgroupHierarchies } from "./hierarchies.ts";
import { killProcesses } from "./kill-processes.ts";

const wantedControllers = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

/** cgroup v2: one tree, see the kernel's admin-guide/cgroup-v2. */
export class CgroupV2 implements CgroupTree {
  readonly #root: string;
  readonly #controllers: ReadonlyMap<string, string>;

  constructor(hierarchies: CgroupHierarchies) {
    this.#root = hierarchies.unified ?? "/sys/fs/cgroup";
    this.#controllers = hierarchies.controllers;
  }

  /** Controllers are handed down by every group on the way. */
  create(path: string): void {
    let group = this.#root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      enableControllers(group);
      group = `${group}/${name}`;
      makeDirectories(group, 0o755);
    }
  }

  enter(path: string, pid: number): void {
    writeGroupFile(`${this.#root}${path}/cgroup.procs`, String(pid));
  }

  applyLimits(path: string, resources: ResourceSpec): void {
    const writer = new LimitWriter(path);
    const write = (controller: string, file: string, value: number | string, limit: string) =>
      writer.write(this.#controllers.get(controller), file, String(value), limit);

    applyMemory(resources, write);
    if (resources.cpuShares > 0) write("cpu", "cpu.weight", weightOfShares(resources.cpuShares), "cpuShares");
    const cpu = cpuQuotaOf(resources);
    if (cpu !== undefined) write("cpu", "cpu.max", `${cpu.quota < 0 ? "max" : cpu.quota} ${cpu.period}`, cpu.limit);
    else if (resources.cpuPeriod > 0) write("cpu", "cpu.max", `max ${resources.cpuPeriod}`, "cpuPeriod");
    if (resources.cpusetCpus !== "") write("cpuset", "cpuset.cpus", resources.cpusetCpus, "cpusetCpus");
    if (resources.cpusetMems !== "") write("cpuset", "cpuset.mems", resources.cpusetMems, "cpusetMems");
    if (resources.pidsLimit !== 0) {
      write("pids", "pids.max", resources.pidsLimit < 0 ? "max" : resources.pidsLimit, "pidsLimit");
    }
    this.#applyIo(path, resources, write);
  }

  usage(path: string): ResourceUsage {
    const group = `${this.#root}${path}`;
    const cpu = readKeyed(`${group}/cpu.stat`);
    const memoryStat = readKeyed(`${group}/memory.stat`);
    const io = sumIo(readText(`${group}/io.stat`) ?? "");
    const memoryBytes = readNumber(`${group}/memory.current`);
    return {
      cpuTotalNs: (cpu["usage_usec"] ?? 0) * 1000,
      cpuUserNs: (cpu["user_usec"] ?? 0) * 1000,
      cpuSystemNs: (cpu["system_usec"] ?? 0) * 1000,
      cpuThrottledPeriods: cpu["nr_throttled"] ?? 0,
      cpuThrottledNs: (cpu["throttled_usec"] ?? 0) * 1000,
      memoryBytes,
      memoryInactiveFileBytes: memoryStat["inactive_file"] ?? 0,
      memoryLimitBytes: readNumber(`${group}/memory.max`),
      // memory.peak came with Linux 5.19.
      memoryMaxBytes: readNumber(`${group}/memory.peak`) || memoryBytes,
      memoryStat,
      oomKills: this.oomKills(path),
      pids: readNumber(`${group}/pids.current`),
      pidsLimit: readNumber(`${group}/pids.max`),
      blkioReadBytes: io.read,
      blkioWriteBytes: io.write,
    };
  }

  sample(path: string, read: ReadFile): CgroupSample | undefined {
    const group = `${this.#root}${path}`;
    const cpu = read(`${group}/cpu.stat`);
    if (cpu === undefined) return undefined;
    const io = sumIo(read(`${group}/io.stat`) ?? "");
    return {
      cpuNs: keyedNumber(cpu, "usage_usec") * 1000,
      memoryBytes: Number(read(`${group}/memory.current`) ?? 0),
      inactiveFileBytes: keyedNumber(read(`${group}/memory.stat`) ?? "", "inactive_file"),
      pids: Number(read(`${group}/pids.current`) ?? 0),
      readBytes: io.read,
      writtenBytes: io.write,
    };
  }

  processes(path: string): readonly number[] {
    return [...readProcesses(`${this.#root}${path}`)].sort((a, b) => a - b);
  }

  setFrozen(path: string, frozen: boolean): void {
    writeGroupFile(`${this.#root}${path}/cgroup.freeze`, frozen ? "1" : "0");
  }

  isFrozen(path: string): boolean {
    return readKeyed(`${this.#root}${path}/cgroup.events`)["frozen"] === 1;
  }

  oomKills(path: string): number {
    return readKeyed(`${this.#root}${path}/memory.events`)["oom_kill"] ?? 0;
  }

  /** cgroup.kill (Linux 5.14) kills frozen ones as well, and what is forked meanwhile. */
  kill(path: string): void {
    const group = `${this.#root}${path}`;
    if (readText(`${group}/cgroup.procs`) === undefined) return;
    try {
      writeGroupFile(`${group}/cgroup.kill`, "1");
    } catch (error) {
      if (errnoAndText(error)?.errno !== "ENOENT") throw error;
      killProcesses(() => this.processes(path));
      this.setFrozen(path, false);
    }
  }

  remove(path: string): boolean {
    return removeGroups(`${this.#root}${path}`);
  }

  children(parent: string): readonly string[] {
    return [...groupNames(`${this.#root}${parent}`)].sort();
  }

  #applyIo(path: string, resources: ResourceSpec, write: WriteLimit): void {
    const isBfq = readText(`${this.#root}${path}/io.bfq.weight`) !== undefined;
    const weightFile = isBfq ? "io.bfq.weight" : "io.weight";
    const scaled = (weight: number) => (isBfq ? weight : weightOfBlkio(weight));
    if (resources.blkioWeight > 0) write("io", weightFile, `default ${scaled(resources.blkioWeight)}`, "blkioWeight");
    for (const { path: device, weight } of resources.blkioWeightDevice) {
      const number = deviceNumber(device, "blkioWeightDevice");
      write("io", weightFile, `${number} ${scaled(weight)}`, "blkioWeightDevice");
    }
    for (const [limit, key] of throttles) {
      for (const { path: device, rate } of resources[limit]) {
        write("io", "io.max", `${deviceNumber(device, limit)} ${key}=${rate}`, limit);
      }
    }
  }
}

type WriteLimit = (controller: string, file: string, value: number | string, limit: string) => void;

const throttles = [
  ["blkioDeviceReadBps", "rbps"],
  ["blkioDeviceWriteBps", "wbps"],
  ["blkioDeviceReadIops", "riops"],
  ["blkioDeviceWriteIops", "wiops"],
] as const;

/** v1's 2..262144 on v2's 1..10000, as runc and crun convert it. */
export function weightOfShares(shares: number): number {
  const clamped = Math.min(262_144, Math.max(2, shares));
  return 1 + Math.trunc(((clamped - 2) * 9999) / 262_142);
}

/** v1's 10..1000 on v2's 1..10000. */
export function weightOfBlkio(weight: number): number {
  return 1 + Math.trunc(((weight - 10) * 9999) / 990);
}

function applyMemory(resources: ResourceSpec, write: WriteLimit): void {
  const { memory, memorySwap } = resources;
  if (memory !== 0) write("memory", "memory.max", memory < 0 ? "max" : memory, "memory");
  if (memorySwap < 0) write("memory", "memory.swap.max", "max", "memorySwap");
  if (memorySwap > 0) {
    // v2 counts swap alone.
    if (memory <= 0) throw rejected("memorySwap", String(memorySwap), "it includes memory, which has no limit stated");
    if (memorySwap < memory) throw rejected("memorySwap", String(memorySwap), `it is less than memory=${memory}`);
    write("memory", "memory.swap.max", memorySwap - memory, "memorySwap");
  }
  if (resources.memoryReservation !== 0) {
    write("memory", "memory.low", resources.memoryReservation, "memoryReservation");
  }
  if (resources.memorySwappiness !== null && resources.memorySwappiness >= 0) {
    throw rejected("memorySwappiness", String(resources.memorySwappiness), "cgroup v2 has no such limit");
  }
  if (resources.oomKillDisable) throw rejected("oomKillDisable", "true", "cgroup v2 has no such setting");
}

/** Hands down every wanted controller that the group has and does not hand down yet. */
function enableControllers(group: string): void {
  const words = (file: string) => (readText(`${group}/${file}`) ?? "").split(" ").filter((word) => word !== "");
  const enabled = new Set(words("cgroup.subtree_control"));
  const missing = words("cgroup.controllers").filter((name) => wantedControllers.includes(name) && !enabled.has(name));
  if (missing.length === 0) return;
  writeGroupFile(`${group}/cgroup.subtree_control`, missing.map((name) => `+${name}`).join(" "));
}

/** Lines "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 ...". */
function sumIo(text: string): { readonly read: number; readonly write: number } {
  const total = (key: string) =>
    [...text.matchAll(new RegExp(`\\b${key}=(\\d+)`, "g"))].reduce((sum, match) => sum + Number(match[1]), 0);
  return { read: total("rbytes"), write: total("wbytes") };
}
