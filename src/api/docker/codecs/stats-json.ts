/** `GET /containers/{id}/stats`. */
import type { InstanceUsage, NetworkCounters } from "../../../instances/instance-service.ts";
import type { InstanceRecord } from "../../../schema/instance.ts";
import type { CpuClock } from "../backend.ts";
import { zeroTime } from "./timestamps.ts";

/** One reading, with the machine's clock at that moment. */
export interface Sample {
  readonly usage: InstanceUsage;
  readonly clock: CpuClock;
}

/** A reading with the one before it, from which clients compute percentages. */
export function statsJson(
  record: InstanceRecord,
  now: Sample,
  before: Sample | undefined,
  cgroupVersion: 1 | 2,
): object {
  const { resources } = now.usage;
  return {
    ...identity(record),
    read: now.usage.readAt,
    preread: before?.usage.readAt ?? zeroTime,
    pids_stats: {
      current: resources.pids,
      ...(resources.pidsLimit > 0 ? { limit: resources.pidsLimit } : {}),
    },
    blkio_stats: {
      ...emptyBlockIo(cgroupVersion),
      io_service_bytes_recursive: [
        { major: 0, minor: 0, op: "read", value: resources.blkioReadBytes },
        { major: 0, minor: 0, op: "write", value: resources.blkioWriteBytes },
      ],
    },
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpuJson(now),
    precpu_stats: before === undefined ? zeroCpu : cpuJson(before),
    memory_stats: {
      usage: resources.memoryBytes,
      ...(cgroupVersion === 1 ? { max_usage: resources.memoryMaxBytes } : {}),
      stats: resources.memoryStat,
      ...(resources.oomKills > 0 ? { failcnt: resources.oomKills } : {}),
      limit: resources.memoryLimitBytes,
    },
    ...(Object.keys(now.usage.networks).length === 0 ? {} : { networks: mapValues(now.usage.networks, networkJson) }),
  };
}

/** What Docker sends for a container that does not run. */
export function zeroStats(record: InstanceRecord, cgroupVersion: 1 | 2): object {
  return {
    ...identity(record),
    read: zeroTime,
    preread: zeroTime,
    pids_stats: {},
    blkio_stats: emptyBlockIo(cgroupVersion),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: zeroCpu,
    precpu_stats: zeroCpu,
    memory_stats: {},
  };
}

function identity(record: InstanceRecord): object {
  return { name: `/${record.name}`, id: record.id };
}

function cpuJson({ usage, clock }: Sample): object {
  const { resources } = usage;
  return {
    cpu_usage: {
      total_usage: resources.cpuTotalNs,
      usage_in_kernelmode: resources.cpuSystemNs,
      usage_in_usermode: resources.cpuUserNs,
    },
    system_cpu_usage: clock.totalNs,
    online_cpus: clock.online,
    throttling_data: {
      periods: 0,
      throttled_periods: resources.cpuThrottledPeriods,
      throttled_time: resources.cpuThrottledNs,
    },
  };
}

const zeroCpu = {
  cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
};

/** Lists on cgroup v1, null on v2, as Docker's Go has them. */
function emptyBlockIo(cgroupVersion: 1 | 2): object {
  const none = cgroupVersion === 1 ? [] : null;
  return {
    io_service_bytes_recursive: none,
    io_serviced_recursive: none,
    io_queue_recursive: none,
    io_service_time_recursive: none,
    io_wait_time_recursive: none,
    io_merged_recursive: none,
    io_time_recursive: none,
    sectors_recursive: none,
  };
}

function networkJson(counters: NetworkCounters): object {
  return {
    rx_bytes: counters.rxBytes,
    rx_packets: counters.rxPackets,
    rx_errors: counters.rxErrors,
    rx_dropped: counters.rxDropped,
    tx_bytes: counters.txBytes,
    tx_packets: counters.txPackets,
    tx_errors: counters.txErrors,
    tx_dropped: counters.txDropped,
  };
}

function mapValues<T>(record: Readonly<Record<string, T>>, map: (value: T) => object): Record<string, object> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
