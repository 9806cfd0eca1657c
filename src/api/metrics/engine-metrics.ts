/** What is read when somebody asks: of the engine's own process, and once of each instance that runs. */
import { readdir, readFile } from "node:fs/promises";
import { isBerthError, messageOf } from "../../base/errors.ts";
import { shortId } from "../../base/ids.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { InstanceUsage } from "../../instances/instance-service.ts";
import type { InstanceRecord } from "../../schema/instance.ts";
import type { DockerBackend } from "../docker/backend.ts";
import type { MetricFamily, MetricSample } from "./prometheus-text.ts";

/** Readings at a time: the kernel worker has a start's calls to do in between. */
const width = 4;

/** The engine's own process: its whole cost on the machine but for the monitors. */
export async function processFamilies(): Promise<readonly MetricFamily[]> {
  const { user, system } = process.cpuUsage();
  const [status, files] = await Promise.all([readFile("/proc/self/status", "utf8"), readdir("/proc/self/fd")]);
  const residentKiB = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
  return [
    counter("process_cpu_seconds_total", "Processor time of the engine.", (user + system) / 1e6),
    gauge("process_resident_memory_bytes", "Resident memory of the engine.", residentKiB * 1024),
    gauge("process_open_fds", "Open file descriptors of the engine.", files.length),
    gauge("process_start_time_seconds", "When the engine started, since the epoch.", performance.timeOrigin / 1000),
    gauge("berth_heap_used_bytes", "Used part of the main thread's JavaScript heap.", process.memoryUsage().heapUsed),
  ];
}

/** How many instances there are in each state, and what those that run use. */
export async function instanceFamilies(
  ctx: OpContext,
  { instances, system: { facts } }: DockerBackend,
): Promise<readonly MetricFamily[]> {
  const records = instances.list();
  const states = new Map<string, number>([
    ["running", 0],
    ["exited", 0],
  ]);
  for (const { state } of records) states.set(state.status, (states.get(state.status) ?? 0) + 1);
  const running = records.filter(({ state }) => state.status === "running" || state.status === "paused");
  return [
    {
      name: "berth_build_info",
      help: "Always 1; the labels say what runs.",
      type: "gauge",
      samples: [{ labels: { version: facts.version, runtime: facts.runtime, kernel: facts.kernelRelease }, value: 1 }],
    },
    {
      name: "berth_containers",
      help: "Containers, by state.",
      type: "gauge",
      samples: [...states].map(([state, value]) => ({ labels: { state }, value })),
    },
    ...usageFamilies(await readAll(ctx, instances, running)),
  ];
}

interface Reading {
  readonly labels: Readonly<Record<string, string>>;
  readonly usage: InstanceUsage;
}

async function readAll(
  ctx: OpContext,
  instances: DockerBackend["instances"],
  records: readonly InstanceRecord[],
): Promise<readonly Reading[]> {
  const readings: Reading[] = [];
  const queue = records.values();
  const read = async (): Promise<void> => {
    for (const { id, name } of queue) {
      ctx.signal.throwIfAborted();
      try {
        readings.push({ labels: { id: shortId(id), name }, usage: await instances.usage(ctx, id) });
      } catch (error) {
        // It ended between the list and the reading: then there is nothing to say of it.
        if (!isBerthError(error, "INSTANCE_NOT_FOUND"))
          ctx.log.debug({ instance: id, error: messageOf(error) }, "not measured");
      }
    }
  };
  await Promise.all(Array.from({ length: width }, read));
  return readings.sort((a, b) => ((a.labels["name"] ?? "") < (b.labels["name"] ?? "") ? -1 : 1));
}

function usageFamilies(readings: readonly Reading[]): readonly MetricFamily[] {
  const each = (value: (usage: InstanceUsage["resources"]) => number): readonly MetricSample[] =>
    readings.map(({ labels, usage }) => ({ labels, value: value(usage.resources) }));
  const traffic = (field: "rxBytes" | "txBytes" | "rxPackets" | "txPackets"): readonly MetricSample[] =>
    readings.flatMap(({ labels, usage }) =>
      Object.entries(usage.networks).map(([link, counters]) => ({
        labels: { ...labels, interface: link },
        value: counters[field],
      })),
    );
  const family = (
    type: MetricFamily["type"],
    name: string,
    help: string,
    samples: readonly MetricSample[],
  ): MetricFamily => ({ name: `berth_container_${name}`, help, type, samples });
  return [
    family(
      "counter",
      "cpu_seconds_total",
      "Processor time used.",
      each(({ cpuTotalNs }) => cpuTotalNs / 1e9),
    ),
    family(
      "counter",
      "cpu_throttled_seconds_total",
      "Time held back by its own processor limit.",
      each(({ cpuThrottledNs }) => cpuThrottledNs / 1e9),
    ),
    family(
      "gauge",
      "memory_working_set_bytes",
      "Memory in use, without the page cache that can go: what docker stats shows.",
      each(({ memoryBytes, memoryInactiveFileBytes }) => Math.max(0, memoryBytes - memoryInactiveFileBytes)),
    ),
    family(
      "gauge",
      "memory_limit_bytes",
      "Its limit, or the machine's memory.",
      each(({ memoryLimitBytes }) => memoryLimitBytes),
    ),
    family(
      "counter",
      "oom_kills_total",
      "Processes killed for want of memory.",
      each(({ oomKills }) => oomKills),
    ),
    family(
      "gauge",
      "pids",
      "Processes and threads.",
      each(({ pids }) => pids),
    ),
    family(
      "counter",
      "block_read_bytes_total",
      "Read from block devices.",
      each(({ blkioReadBytes }) => blkioReadBytes),
    ),
    family(
      "counter",
      "block_written_bytes_total",
      "Written to block devices.",
      each(({ blkioWriteBytes }) => blkioWriteBytes),
    ),
    family("counter", "network_receive_bytes_total", "Received, by interface.", traffic("rxBytes")),
    family("counter", "network_transmit_bytes_total", "Sent, by interface.", traffic("txBytes")),
    family("counter", "network_receive_packets_total", "Packets received, by interface.", traffic("rxPackets")),
    family("counter", "network_transmit_packets_total", "Packets sent, by interface.", traffic("txPackets")),
  ];
}

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "counter", samples: [{ value }] };
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "gauge", samples: [{ value }] };
}
