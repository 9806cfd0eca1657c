import type { DockerHostConfig, UpdateContainerBody } from "../../../schema/docker/container.ts";
import type { ResourceSpec } from "../../../schema/resources.ts";

type Rates = DockerHostConfig["BlkioDeviceReadBps"];

/**
 * The limits that a request states. Docker can't tell 0 from "not stated", so those are left out: an update keeps what
 * they were.
 */
export function resourceChanges(body: DockerHostConfig | UpdateContainerBody): Partial<ResourceSpec> {
  const swappiness = body.MemorySwappiness ?? -1;
  const changes: { [K in keyof ResourceSpec]: ResourceSpec[K] | undefined } = {
    memory: stated(body.Memory),
    memoryReservation: stated(body.MemoryReservation),
    memorySwap: stated(body.MemorySwap),
    memorySwappiness: swappiness === -1 ? undefined : swappiness,
    oomKillDisable: body.OomKillDisable ?? undefined,
    nanoCpus: stated(body.NanoCpus),
    cpuShares: stated(body.CpuShares),
    cpuPeriod: stated(body.CpuPeriod),
    cpuQuota: stated(body.CpuQuota),
    cpusetCpus: body.CpusetCpus || undefined,
    cpusetMems: body.CpusetMems || undefined,
    // Here Docker can: a pointer, so that 0 lifts the limit.
    pidsLimit: body.PidsLimit ?? undefined,
    blkioWeight: stated(body.BlkioWeight),
    blkioWeightDevice: body.BlkioWeightDevice?.map(({ Path, Weight }) => ({ path: Path, weight: Weight })),
    blkioDeviceReadBps: rates(body.BlkioDeviceReadBps),
    blkioDeviceWriteBps: rates(body.BlkioDeviceWriteBps),
    blkioDeviceReadIops: rates(body.BlkioDeviceReadIOps),
    blkioDeviceWriteIops: rates(body.BlkioDeviceWriteIOps),
  };
  // What is undefined was not stated; what is left has its own type.
  return Object.fromEntries(
    Object.entries(changes).filter(([, value]) => value !== undefined),
  ) as Partial<ResourceSpec>;
}

const stated = (value: number | null | undefined) => value || undefined;

function rates(list: Rates) {
  return list?.map(({ Path, Rate }) => ({ path: Path, rate: Rate }));
}
