import type { ResourceSpec } from "../../schema/resources.ts";
import type { CgroupFeatures } from "../../host/cgroup.ts";
import { invalid } from "./invalid.ts";

/** What of this machine bounds a request. */
export interface Machine {
  readonly cpus: number;
  /** Controllers of the control groups. */
  readonly controllers: readonly string[];
}

/** Docker's least memory limit, bytes: a container needs some to start at all. */
const leastMemory = 6 * 1024 * 1024;

/** Throws `REQUEST_INVALID`; returns Docker's warnings. An update may state swap without memory. */
export function validateResources(
  resources: ResourceSpec,
  machine: Machine,
  options: { readonly update: boolean },
): readonly string[] {
  validateMemory(resources, options.update);
  validateCpu(resources, machine);
  validateCpuset(resources, machine);
  validateBlockIo(resources);
  if (resources.pidsLimit < -1) {
    throw invalid(`invalid pids limit ${resources.pidsLimit}: give a count, or -1 for no limit`);
  }
  const warnings: string[] = [];
  if (resources.oomKillDisable && resources.memory === 0) {
    warnings.push(
      "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
    );
  }
  return warnings;
}

/** What this kernel has nothing for is left out with a warning, as in Docker, rather than failing the start. */
export function discardUnsupported<T extends Partial<ResourceSpec>>(
  resources: T,
  features: CgroupFeatures,
): { readonly resources: T; readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  let kept = resources;
  if ((kept.blkioWeight ?? 0) > 0 && !features.blkioWeight) {
    warnings.push("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.");
    kept = { ...kept, blkioWeight: 0 };
  }
  if ((kept.blkioWeightDevice ?? []).length > 0 && !features.blkioWeightDevice) {
    warnings.push(
      "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
    );
    kept = { ...kept, blkioWeightDevice: [] };
  }
  return { resources: kept, warnings };
}

function validateMemory(resources: ResourceSpec, update: boolean): void {
  const { memory, memoryReservation, memorySwap, memorySwappiness } = resources;
  if (memory < 0) throw invalid(`invalid memory limit ${memory}: it cannot be negative`);
  if (memory !== 0 && memory < leastMemory) throw invalid("Minimum memory limit allowed is 6MB");
  if (memorySwap < -1) throw invalid(`invalid memory-swap limit ${memorySwap}: give bytes, or -1 for unlimited swap`);
  if (memory > 0 && memorySwap > 0 && memorySwap < memory) {
    throw invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (memory === 0 && memorySwap > 0 && !update) {
    throw invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  if (memorySwappiness !== null && memorySwappiness !== -1 && (memorySwappiness < 0 || memorySwappiness > 100)) {
    throw invalid(`Invalid value: ${memorySwappiness}, valid memory swappiness range is 0-100`);
  }
  if (memoryReservation !== 0 && memoryReservation < leastMemory) {
    throw invalid("Minimum memory reservation allowed is 6MB");
  }
  if (memory > 0 && memory < memoryReservation) {
    throw invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
  }
}

function validateCpu(resources: ResourceSpec, machine: Machine): void {
  const { nanoCpus, cpuPeriod, cpuQuota, cpuShares } = resources;
  if (nanoCpus > 0 && cpuPeriod > 0) {
    throw invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
  }
  if (nanoCpus > 0 && cpuQuota > 0) {
    throw invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
  }
  if (nanoCpus < 0 || nanoCpus > machine.cpus * 1e9) {
    const most = `${machine.cpus}.00`;
    throw invalid(`range of CPUs is from 0.01 to ${most}, as there are only ${machine.cpus} CPUs available`);
  }
  if (cpuShares < 0) throw invalid(`invalid CPU shares (${cpuShares}): value must be a positive integer`);
  if (cpuPeriod !== 0 && (cpuPeriod < 1000 || cpuPeriod > 1_000_000)) {
    throw invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (cpuQuota > 0 && cpuQuota < 1000) throw invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
}

function validateCpuset({ cpusetCpus, cpusetMems }: ResourceSpec, machine: Machine): void {
  const cpus = parseCpuset(cpusetCpus);
  if (cpus === undefined) throw invalid(`Invalid value ${cpusetCpus} for cpuset cpus: invalid format: ${cpusetCpus}`);
  if (cpus.some((cpu) => cpu >= machine.cpus)) {
    const available = machine.cpus === 1 ? "0" : `0-${machine.cpus - 1}`;
    throw invalid(`Requested CPUs are not available - requested ${cpusetCpus}, available: ${available}`);
  }
  if (parseCpuset(cpusetMems) === undefined) {
    throw invalid(`Invalid value ${cpusetMems} for cpuset mems: invalid format: ${cpusetMems}`);
  }
}

/** Numbers of "0-2,5"; undefined when it is not such a list. */
function parseCpuset(list: string): readonly number[] | undefined {
  if (list === "") return [];
  const numbers: number[] = [];
  for (const part of list.split(",")) {
    const range = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (range === null) return undefined;
    const first = Number(range[1]);
    const last = Number(range[2] ?? range[1]);
    if (last < first) return undefined;
    numbers.push(first, last);
  }
  return numbers;
}

function validateBlockIo(resources: ResourceSpec): void {
  const outOfRange = (weight: number) => weight !== 0 && (weight < 10 || weight > 1000);
  if (outOfRange(resources.blkioWeight)) throw invalid("Range of blkio weight is from 10 to 1000");
  for (const { path, weight } of resources.blkioWeightDevice) {
    requireDevicePath(path);
    if (outOfRange(weight)) throw invalid(`invalid weight ${weight} for device ${path}: the range is from 10 to 1000`);
  }
  const rates = [
    ...resources.blkioDeviceReadBps,
    ...resources.blkioDeviceWriteBps,
    ...resources.blkioDeviceReadIops,
    ...resources.blkioDeviceWriteIops,
  ];
  for (const { path, rate } of rates) {
    requireDevicePath(path);
    if (rate < 0) throw invalid(`invalid rate ${rate} for device ${path}: it cannot be negative`);
  }
}

function requireDevicePath(path: string): void {
  if (!path.startsWith("/dev/")) throw invalid(`bad format for device path: ${path}: it starts with /dev/`);
}
