import type { OpContext } from "../../base/op-context.ts";
import type { ResourceUsage } from "../../schema/resources.ts";
import { askAgent } from "./ask-agent.ts";
import type { Machine } from "./handle.ts";
import { memoryOverhead } from "./machine-size.ts";

/** What the control group of a jail has counted, against the limits that the instance states, with what the guest knows better. */
export async function withGuestFigures(
  ctx: OpContext,
  machine: Machine,
  usage: ResourceUsage,
  answers: boolean,
): Promise<ResourceUsage> {
  const memoryLimitBytes = Math.max(0, usage.memoryLimitBytes - memoryOverhead);
  if (!answers) {
    // Paused: what it takes of the host, its share of the overhead taken off.
    const taken = usage.memoryBytes - usage.memoryInactiveFileBytes;
    return { ...usage, memoryLimitBytes, memoryBytes: Math.min(taken, memoryLimitBytes), memoryInactiveFileBytes: 0 };
  }
  const stats = new Map(await askAgent(ctx, machine, [["verb", "stats"]]));
  const number = (name: string) => Number(stats.get(name) ?? 0);
  return {
    ...usage,
    memoryLimitBytes,
    memoryBytes: Math.max(0, number("memory_total") - number("memory_available")),
    memoryInactiveFileBytes: 0,
    pids: number("pids"),
  };
}
