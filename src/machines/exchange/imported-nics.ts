import { isBerthError } from "../../base/errors.ts";
import type { OvfNic } from "../../ovf/ovf-machine.ts";
import type { MachineNicRequest } from "../../schema/machine-api.ts";
import type { MachineParts } from "../parts.ts";

/**
 * The description's cards on networks of this engine: those that the user named for them, else one of the same name, else the default
 * one. A card keeps its MAC address, by which its system knows it, unless another machine has it. `NETWORK_NOT_FOUND`.
 */
export function nicsFor(
  parts: Pick<MachineParts, "networks" | "instances">,
  nics: readonly OvfNic[],
  chosen: readonly string[],
  warn: (warning: string) => void,
): readonly MachineNicRequest[] {
  const taken = new Set(
    parts.instances
      .list()
      .flatMap(({ spec }) =>
        Object.values(spec.network.endpoints).flatMap(({ macAddress }) => macAddress?.toLowerCase() ?? []),
      ),
  );
  const requests = new Map<string, MachineNicRequest>();
  for (const { model, network: theirs, mac } of nics) {
    const network = networkFor(parts, theirs, chosen);
    if (requests.has(network)) {
      warn(`a second card on the network ${network} is left out: a machine has one on each`);
      continue;
    }
    const isFree = mac !== "" && !taken.has(mac);
    if (mac !== "" && !isFree) warn(`the card on ${network} gets another MAC address: another machine has ${mac}`);
    taken.add(mac);
    requests.set(network, { network, model, ...(isFree ? { mac } : {}) });
  }
  return [...requests.values()];
}

function networkFor({ networks }: Pick<MachineParts, "networks">, theirs: string, chosen: readonly string[]): string {
  const pairs = chosen
    .filter((word) => word.includes("="))
    .map((word) => [word.slice(0, word.lastIndexOf("=")), word.slice(word.lastIndexOf("=") + 1)]);
  const named = pairs.find(([from]) => from === theirs)?.[1] ?? chosen.find((word) => !word.includes("="));
  if (named !== undefined) return networks.resolve(named).spec.name;
  try {
    const same = theirs === "" ? undefined : networks.resolve(theirs);
    if (same?.spec.driver === "bridge") return same.spec.name;
  } catch (error) {
    if (!isBerthError(error, "NETWORK_NOT_FOUND", "NETWORK_AMBIGUOUS")) throw error;
  }
  return "bridge";
}
