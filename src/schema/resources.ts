import { type Static, Type } from "typebox";

const DeviceRate = Type.Object({ path: Type.String(), rate: Type.Integer({ minimum: 0 }) });
const DeviceWeight = Type.Object({ path: Type.String(), weight: Type.Integer({ minimum: 0 }) });

/** What an instance may use. 0, "" and [] mean "no limit stated"; bytes and microseconds unless said otherwise. */
export const ResourceSpec = Type.Object({
  memory: Type.Integer(),
  memoryReservation: Type.Integer(),
  /** Memory + swap; -1 is unlimited swap. */
  memorySwap: Type.Integer(),
  /** null leaves the kernel's. */
  memorySwappiness: Type.Union([Type.Integer(), Type.Null()]),
  oomKillDisable: Type.Boolean(),
  /** Billionths of a CPU; excludes quota and period. */
  nanoCpus: Type.Integer(),
  cpuShares: Type.Integer(),
  cpuPeriod: Type.Integer(),
  cpuQuota: Type.Integer(),
  cpusetCpus: Type.String(),
  cpusetMems: Type.String(),
  /** 0 or -1 is unlimited. */
  pidsLimit: Type.Integer(),
  /** 10 to 1000. */
  blkioWeight: Type.Integer(),
  blkioWeightDevice: Type.Array(DeviceWeight),
  blkioDeviceReadBps: Type.Array(DeviceRate),
  blkioDeviceWriteBps: Type.Array(DeviceRate),
  blkioDeviceReadIops: Type.Array(DeviceRate),
  blkioDeviceWriteIops: Type.Array(DeviceRate),
});
export type ResourceSpec = Static<typeof ResourceSpec>;

/** No limits at all. */
export const unlimited: ResourceSpec = {
  memory: 0,
  memoryReservation: 0,
  memorySwap: 0,
  memorySwappiness: null,
  oomKillDisable: false,
  nanoCpus: 0,
  cpuShares: 0,
  cpuPeriod: 0,
  cpuQuota: 0,
  cpusetCpus: "",
  cpusetMems: "",
  pidsLimit: 0,
  blkioWeight: 0,
  blkioWeightDevice: [],
  blkioDeviceReadBps: [],
  blkioDeviceWriteBps: [],
  blkioDeviceReadIops: [],
  blkioDeviceWriteIops: [],
};

/** One reading of what an instance uses. Bytes, nanoseconds, counts since start. */
export const ResourceUsage = Type.Object({
  cpuTotalNs: Type.Integer(),
  cpuUserNs: Type.Integer(),
  cpuSystemNs: Type.Integer(),
  cpuThrottledPeriods: Type.Integer(),
  cpuThrottledNs: Type.Integer(),
  memoryBytes: Type.Integer(),
  /** `inactive_file`: what `docker stats` subtracts. */
  memoryInactiveFileBytes: Type.Integer(),
  memoryLimitBytes: Type.Integer(),
  memoryMaxBytes: Type.Integer(),
  /** The kernel's memory.stat as it is. */
  memoryStat: Type.Record(Type.String(), Type.Number()),
  oomKills: Type.Integer(),
  pids: Type.Integer(),
  pidsLimit: Type.Integer(),
  blkioReadBytes: Type.Integer(),
  blkioWriteBytes: Type.Integer(),
});
export type ResourceUsage = Static<typeof ResourceUsage>;

/** A reading of nothing at all: what has ended uses. */
export const noUsage: ResourceUsage = {
  cpuTotalNs: 0,
  cpuUserNs: 0,
  cpuSystemNs: 0,
  cpuThrottledPeriods: 0,
  cpuThrottledNs: 0,
  memoryBytes: 0,
  memoryInactiveFileBytes: 0,
  memoryLimitBytes: 0,
  memoryMaxBytes: 0,
  memoryStat: {},
  oomKills: 0,
  pids: 0,
  pidsLimit: 0,
  blkioReadBytes: 0,
  blkioWriteBytes: 0,
};
