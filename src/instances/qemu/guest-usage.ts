import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { ResourceUsage } from "../../schema/resources.ts";
import type { Answer } from "./agent-channel.ts";
import { askAgent } from "./ask-agent.ts";
import type { Machine } from "./handle.ts";
import { memoryOverhead } from "./machine-size.ts";

/** A guest whose kernel hangs is not waited for long: the host's own figures will do. */
const patienceMs = 2000;

/** What the control group of a jail has counted, against the limits that the instance states, with what the guest knows better. */
export async function withGuestFigures(
  ctx: OpContext,
  machine: Machine,
  usage: ResourceUsage,
  answers: boolean,
): Promise<ResourceUsage> {
  const memoryLimitBytes = Math.max(0, usage.memoryLimitBytes - memoryOverhead);
  const stats = answers ? await guestStats(ctx, machine) : undefined;
  if (stats === undefined) {
    const taken = usage.memoryBytes - usage.memoryInactiveFileBytes;
    return { ...usage, memoryLimitBytes, memoryBytes: Math.min(taken, memoryLimitBytes), memoryInactiveFileBytes: 0 };
  }
  const fields = new Map(stats);
  const number = (name: string) => Number(fields.get(name) ?? 0);
  return {
    ...usage,
    memoryLimitBytes,
    memoryBytes: number("memory_used"),
    memoryInactiveFileBytes: 0,
    pids: number("pids"),
  };
}

/** Undefined when it does not answer. */
async function guestStats(ctx: OpContext, machine: Machine): Promise<Answer | undefined> {
  try {
    return await askAgent(ctx, machine, [["verb", "stats"]], patienceMs);
  } catch (error) {
    if (isBerthError(error, "AGENT_SILENT")) return undefined;
    throw error;
  }
}
