import type { ResourceSpec } from "../../../schema/resources.ts";
import type { OciDeviceRule, OciResources, OciThrottleDevice } from "./oci-spec.ts";

/** Numbers of the block devices that limits name, by path. */
export type BlockDevices = ReadonlyMap<string, { readonly major: number; readonly minor: number }>;

/** Docker's period, microseconds. */
const defaultCpuPeriod = 100_000;

/**
 * Limits for the runtime. As in Docker: `--cpus` becomes a quota of a 100 ms period, and memory without a swap limit may
 * use as much swap again (where the kernel counts swap).
 */
export function containerResources(
  resources: ResourceSpec,
  devices: readonly OciDeviceRule[],
  host: { readonly swapLimit: boolean; readonly blockDevices: BlockDevices },
): OciResources {
  const { pidsLimit } = resources;
  return {
    devices,
    ...section("memory", memory(resources, host.swapLimit)),
    ...section("cpu", cpu(resources)),
    ...(pidsLimit > 0 ? { pids: { limit: pidsLimit } } : {}),
    ...section("blockIO", blockIo(resources, host.blockDevices)),
  };
}

/** Memory and swap together that `resources` allow, bytes; 0 states none, -1 is unlimited. */
export function effectiveSwap(resources: Pick<ResourceSpec, "memory" | "memorySwap">): number {
  return resources.memory > 0 && resources.memorySwap === 0 ? resources.memory * 2 : resources.memorySwap;
}

function memory(resources: ResourceSpec, swapLimit: boolean): NonNullable<OciResources["memory"]> {
  const swap = swapLimit ? effectiveSwap(resources) : 0;
  return {
    ...(resources.memory > 0 ? { limit: resources.memory } : {}),
    ...(resources.memoryReservation > 0 ? { reservation: resources.memoryReservation } : {}),
    ...(swap === 0 ? {} : { swap }),
    ...(resources.memorySwappiness === null || resources.memorySwappiness < 0
      ? {}
      : { swappiness: resources.memorySwappiness }),
    ...(resources.oomKillDisable ? { disableOOMKiller: true } : {}),
  };
}

function cpu(resources: ResourceSpec): NonNullable<OciResources["cpu"]> {
  const fromCpus = resources.nanoCpus > 0;
  const period = fromCpus ? defaultCpuPeriod : resources.cpuPeriod;
  const quota = fromCpus ? Math.round((resources.nanoCpus * defaultCpuPeriod) / 1e9) : resources.cpuQuota;
  return {
    ...(resources.cpuShares > 0 ? { shares: resources.cpuShares } : {}),
    ...(period > 0 ? { period } : {}),
    ...(quota === 0 ? {} : { quota }),
    ...(resources.cpusetCpus === "" ? {} : { cpus: resources.cpusetCpus }),
    ...(resources.cpusetMems === "" ? {} : { mems: resources.cpusetMems }),
  };
}

function blockIo(resources: ResourceSpec, devices: BlockDevices): NonNullable<OciResources["blockIO"]> {
  const rates = (list: readonly { readonly path: string; readonly rate: number }[]): readonly OciThrottleDevice[] =>
    list.flatMap(({ path, rate }) => {
      const numbers = devices.get(path);
      return numbers === undefined ? [] : [{ ...numbers, rate }];
    });
  const weights = resources.blkioWeightDevice.flatMap(({ path, weight }) => {
    const numbers = devices.get(path);
    return numbers === undefined ? [] : [{ ...numbers, weight }];
  });
  return {
    ...(resources.blkioWeight > 0 ? { weight: resources.blkioWeight } : {}),
    ...(weights.length > 0 ? { weightDevice: weights } : {}),
    ...list("throttleReadBpsDevice", rates(resources.blkioDeviceReadBps)),
    ...list("throttleWriteBpsDevice", rates(resources.blkioDeviceWriteBps)),
    ...list("throttleReadIOPSDevice", rates(resources.blkioDeviceReadIops)),
    ...list("throttleWriteIOPSDevice", rates(resources.blkioDeviceWriteIops)),
  };
}

function section<K extends string, T extends object>(key: K, value: T): { readonly [P in K]?: T } {
  const result: { [P in K]?: T } = {};
  if (Object.keys(value).length > 0) result[key] = value;
  return result;
}

function list<K extends string, T>(key: K, values: readonly T[]): { readonly [P in K]?: readonly T[] } {
  const result: { [P in K]?: readonly T[] } = {};
  if (values.length > 0) result[key] = values;
  return result;
}
