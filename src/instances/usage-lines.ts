/** The use that all running instances make of the machine, in one reading: for following hundreds of them at a time. */
import { isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { LinkTraffic } from "../host/kernel/link-traffic.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { UsageLine } from "../schema/usage.ts";
import { cgroupParent, driverOf, type Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";
import { joinedInstance } from "./validate/namespaces.ts";

type Links = ReadonlyMap<string, LinkTraffic>;

/**
 * One call for all control groups and one for all links, whose host's ends count the same packets. A machine is asked by itself, as only
 * its guest knows what memory it uses. `names` empty: all that run; those that don't, and what ends meanwhile, are left out.
 */
export async function usageLines(
  parts: Parts,
  ctx: OpContext,
  names: readonly string[],
): Promise<readonly UsageLine[]> {
  const chosen = names.length > 0 ? names.map((name) => resolveInstance(parts.records, name)) : parts.records.all();
  const running = chosen.filter(({ spec, state }) => !spec.internal && isRunning(state.status));
  if (running.length === 0) return [];
  const containers = running.filter(({ spec }) => spec.isolation === "container");
  const parent = cgroupParent(parts);
  const [samples, links, machines] = await Promise.all([
    parts.host.cgroups.samples(containers.map(({ id }) => `${parent}/${id}`)),
    parts.host.kernel.linkTraffic(),
    Promise.all(
      running.filter((record) => !containers.includes(record)).map((record) => machineLine(parts, ctx, record)),
    ),
  ]);
  const lines = containers.flatMap((record, index): readonly UsageLine[] => {
    const sample = samples[index];
    if (sample === undefined) return [];
    const { cpuNs, memoryBytes, inactiveFileBytes, pids, readBytes, writtenBytes } = sample;
    const own = { cpuNs, memoryBytes: Math.max(0, memoryBytes - inactiveFileBytes), pids, readBytes, writtenBytes };
    return [{ ...identity(parts, record), ...own, ...traffic(parts, links, record) }];
  });
  return [
    ...lines,
    ...machines.flatMap((line) => (line === undefined ? [] : [{ ...line.own, ...traffic(parts, links, line.record) }])),
  ];
}

function isRunning(status: string): boolean {
  return status === "running" || status === "paused";
}

function identity({ host }: Parts, { id, name, spec }: InstanceRecord) {
  const { memoryBytes } = host.facts;
  const { memory } = spec.resources;
  return { id, name, memoryLimitBytes: memory === 0 ? memoryBytes : Math.min(memory, memoryBytes) };
}

async function machineLine(parts: Parts, ctx: OpContext, record: InstanceRecord) {
  const { handle } = record.state;
  if (handle === null) return undefined;
  try {
    const usage = await driverOf(parts, record.spec).usage(ctx, handle);
    const { cpuTotalNs, memoryBytes, memoryInactiveFileBytes, pids, blkioReadBytes, blkioWriteBytes } = usage;
    const own = {
      ...identity(parts, record),
      cpuNs: cpuTotalNs,
      memoryBytes: Math.max(0, memoryBytes - memoryInactiveFileBytes),
      memoryLimitBytes: usage.memoryLimitBytes === 0 ? parts.host.facts.memoryBytes : usage.memoryLimitBytes,
      pids,
      readBytes: blkioReadBytes,
      writtenBytes: blkioWriteBytes,
    };
    return { record, own };
  } catch (error) {
    if (isBerthError(error, "TASK_NOT_RUNNING", "INSTANCE_NOT_FOUND")) return undefined;
    throw error;
  }
}

/** What the host's end of a link has sent, the instance has received. */
function traffic(parts: Parts, links: Links, record: InstanceRecord): Pick<UsageLine, "receivedBytes" | "sentBytes"> {
  const joined = joinedInstance(record.spec.network.mode);
  const { endpoints } = joined === undefined ? record.state : resolveInstance(parts.records, joined).state;
  let receivedBytes = 0;
  let sentBytes = 0;
  for (const { hostInterface } of endpoints) {
    const link = links.get(hostInterface);
    receivedBytes += link?.sentBytes ?? 0;
    sentBytes += link?.receivedBytes ?? 0;
  }
  return { receivedBytes, sentBytes };
}
