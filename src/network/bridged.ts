/**
 * Networks of the driver "bridged": a bridge of the host's, which is not ours. A machine on it is on whatever the bridge is on, with an
 * address from there; the engine has no subnet, no firewall and no names on it, and never changes the bridge.
 */
import { readFileSync } from "node:fs";
import type { Host, LinkInfo } from "../host/host.ts";
import { newId } from "../base/ids.ts";
import type { NetworkRecord, NetworkSpec } from "../schema/network.ts";
import { networkErrors } from "./errors.ts";

/** The option that names the bridge. */
const parentOption = "parent";

export function isBridged(network: NetworkRecord): boolean {
  return network.spec.driver === "bridged";
}

/** The bridge that endpoints of the network are put into. */
export function bridgeNameOf(network: NetworkRecord): string {
  return isBridged(network) ? (network.spec.options[parentOption] ?? "") : network.bridge;
}

/** `BRIDGED_PARENT_UNUSABLE`, `BRIDGED_OPTION_REFUSED`. */
export async function defineBridged(
  spec: NetworkSpec,
  host: Pick<Host, "kernel">,
  others: readonly NetworkRecord[],
): Promise<NetworkRecord> {
  const refuse = (option: string) => networkErrors.BRIDGED_OPTION_REFUSED({ option });
  if (spec.ipam.length > 0) throw refuse("a subnet");
  if (spec.internal) throw refuse("--internal");
  if (spec.enableIPv6) throw refuse("--ipv6");
  const unknown = Object.keys(spec.options).find((option) => option !== parentOption);
  if (unknown !== undefined) throw refuse(`the option ${unknown}`);
  const links = await host.kernel.links();
  const parent = spec.options[parentOption] || defaultBridge(links);
  if (others.some(({ bridge }) => bridge !== "" && bridge === parent)) {
    throw networkErrors.BRIDGED_PARENT_UNUSABLE({
      parent,
      reason: "it is the bridge of one of the engine's own networks",
    });
  }
  const { mtu } = usable(parent, links);
  return {
    id: newId(),
    spec: { ...spec, options: { [parentOption]: parent } },
    createdAt: new Date().toISOString(),
    bridge: "",
    mtu,
    builtin: false,
  };
}

/** That the bridge is there now, with its MTU of now. `BRIDGED_PARENT_UNUSABLE`. */
export async function requireParent(network: NetworkRecord, host: Pick<Host, "kernel">): Promise<NetworkRecord> {
  return { ...network, mtu: usable(bridgeNameOf(network), await host.kernel.links()).mtu };
}

function usable(parent: string, links: readonly LinkInfo[]): LinkInfo {
  const link = links.find(({ name }) => name === parent);
  const unusable = (reason: string) => networkErrors.BRIDGED_PARENT_UNUSABLE({ parent, reason });
  if (link === undefined) throw unusable(`the host has no such interface; its bridges are ${bridgesOf(links)}`);
  if (link.kind !== "bridge") throw unusable("it is no bridge");
  return link;
}

/** The bridge that the host itself is on the outside world by. */
function defaultBridge(links: readonly LinkInfo[]): string {
  const routes = readFileSync("/proc/net/route", "utf8")
    .split("\n")
    .map((line) => line.split("\t"));
  const device =
    routes.find(([, destination, , , , , , mask]) => destination === "00000000" && mask === "00000000")?.[0] ?? "";
  if (links.some(({ name, kind }) => name === device && kind === "bridge")) return device;
  throw networkErrors.BRIDGED_PARENT_UNUSABLE({
    parent: device === "" ? "(none)" : device,
    reason: `the host's default route goes through no bridge; its bridges are ${bridgesOf(links)}`,
  });
}

function bridgesOf(links: readonly LinkInfo[]): string {
  const names = links.filter(({ kind }) => kind === "bridge").map(({ name }) => name);
  return names.length === 0 ? "none" : names.join(", ");
}
