import { isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import { withTimeout } from "../base/op-context.ts";
import type { GuestAddresses } from "../schema/machine-api.ts";
import { type MachineParts, machinePaths, requireRunning, resolveMachine } from "./parts.ts";
import { machineView } from "./view.ts";

/** An agent that is there answers at once. */
const agentMs = 3_000;

export async function machineAddresses(parts: MachineParts, ctx: OpContext, nameOrId: string): Promise<GuestAddresses> {
  const record = resolveMachine(parts, nameOrId);
  requireRunning(record);
  const assigned = machineView(parts, record).nics.map(({ name, mac, address }) => ({
    name,
    mac,
    addresses: address === "" ? [] : [address],
    source: "network" as const,
  }));
  try {
    const agent = parts.agents.at(machinePaths(parts, record.id).qga);
    if (!(await agent.isThere(ctx, agentMs))) return { interfaces: assigned };
    const found = await agent.interfaces(withTimeout(ctx, agentMs));
    return {
      interfaces: found.map(({ name, mac, addresses }) => ({
        name,
        mac,
        addresses: [...addresses],
        source: "agent" as const,
      })),
    };
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (!isBerthError(error)) throw error;
    ctx.log.debug({ machine: record.id, error: error.message }, "the guest's agent does not say its addresses");
    return { interfaces: assigned };
  }
}
