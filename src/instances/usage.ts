import type { OpContext } from "../base/op-context.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import { noUsage, type ResourceUsage } from "../schema/resources.ts";
import type { InstanceUsage, NetworkCounters } from "./instance-service.ts";
import { driverOf, type Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";
import { joinedInstance } from "./validate/namespaces.ts";

/** See {@link InstanceService.usage}. All zeros for one that does not run, as in Docker. */
export async function instanceUsage(parts: Parts, ctx: OpContext, nameOrId: string): Promise<InstanceUsage> {
  const record = resolveInstance(parts.records, nameOrId);
  const { handle, status } = record.state;
  const readAt = new Date(parts.clock.now()).toISOString();
  if (handle === null || (status !== "running" && status !== "paused")) {
    return { readAt, resources: noUsage, networks: {} };
  }
  const [resources, networks] = await Promise.all([
    driverOf(parts, record.spec).usage(ctx, handle),
    networkCounters(parts, record),
  ]);
  return { readAt, resources: withMachineLimit(resources, parts.host.facts.memoryBytes), networks };
}

/** Who has no limit is bounded by the machine: what Docker reports. */
function withMachineLimit(usage: ResourceUsage, machineBytes: number): ResourceUsage {
  const { memoryLimitBytes: limit } = usage;
  return limit === 0 || limit > machineBytes ? { ...usage, memoryLimitBytes: machineBytes } : usage;
}

/** By interface, without the loopback. An instance in the host's namespace has no counters of its own. */
async function networkCounters(
  parts: Parts,
  record: InstanceRecord,
): Promise<Readonly<Record<string, NetworkCounters>>> {
  const joined = joinedInstance(record.spec.network.mode);
  if (joined !== undefined) return await networkCounters(parts, resolveInstance(parts.records, joined));
  const netns = parts.networks.sandbox(record.id)?.netnsPath ?? "";
  if (netns === "") return {};
  const links = await parts.host.kernel.links(netns);
  return Object.fromEntries(
    links
      .filter(({ name }) => name !== "lo")
      .map(({ name, rxBytes, rxPackets, rxErrors, rxDropped, txBytes, txPackets, txErrors, txDropped }) => [
        name,
        { rxBytes, rxPackets, rxErrors, rxDropped, txBytes, txPackets, txErrors, txDropped },
      ]),
  );
}
