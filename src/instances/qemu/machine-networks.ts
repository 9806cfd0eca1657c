import { failpoints } from "../../host/failpoints.ts";
import type { DriverNetworks } from "../driver.ts";
import { AgentError } from "./agent-channel.ts";
import { askAgent } from "./ask-agent.ts";
import { machineErrors } from "./errors.ts";
import { machineOf } from "./handle.ts";
import { networkFields } from "./machine-spec.ts";

/** For a card's driver to find it, under emulation and beside others. */
const answerMs = 30_000;

/** Networks that come to a running machine, and go: berth-vmm joins them with cards that are there (guest/vmm/cards.c), the agent does the rest. */
export const machineNetworks: DriverNetworks = {
  async set(ctx, handle, networks) {
    const verb = `have the networks on ${networks.interfaces.join(", ") || "no interface"}`;
    const refused = (reason: string, cause?: unknown) => machineErrors.AGENT_REFUSED({ verb, reason }, { cause });
    if (failpoints.on) await failpoints.before("qemu.command", verb, () => refused("failpoint"));
    try {
      await askAgent(ctx, machineOf(handle), await networkFields(networks), answerMs);
    } catch (error) {
      if (error instanceof AgentError) throw refused(error.message, error);
      throw error;
    }
  },
};
