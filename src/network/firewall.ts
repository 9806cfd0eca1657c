/**
 * The engine's nftables table `inet berth_<tag>`. Pure: text for `nft -f -`, elements for the maps.
 *
 * INVARIANTS
 *  - The rules never change with a container: what changes is in maps and sets.
 *  - The script can be run over a live table: chains and the sets of bridges are replaced in one transaction, the maps of
 *    published ports are never flushed, so no packet meets a half-made ruleset.
 *  - Nothing outside our own table is named. A drop in the host's own firewall stands: it comes on top of what is accepted here.
 */
import type { NftElement, NftOp } from "../host/kernel-ops.ts";
import type { NetworkRecord, PublishedPort } from "../schema/network.ts";
import { bridgeOptionsOf } from "./driver-options.ts";
import { parseCidr, parseIp } from "./ip-address.ts";

export function tableName(tag: string): string {
  return `berth_${tag}`;
}

/** The whole table for these bridge networks; safe to run again and again. */
export function firewallScript(tag: string, networks: readonly NetworkRecord[]): string {
  const table = `inet ${tableName(tag)}`;
  const sets = setElements(networks);
  return [
    `add table ${table}`,
    ...Object.entries(setTypes).map(([name, type]) => `add set ${table} ${name} { ${type} }`),
    ...Object.entries(portMaps).map(([name, type]) => `add map ${table} ${name} { ${type} }`),
    ...Object.entries(chains).map(([name, { hook }]) => `add chain ${table} ${name}${hook}`),
    ...Object.keys(chains).map((name) => `flush chain ${table} ${name}`),
    ...Object.keys(setTypes).map((name) => `flush set ${table} ${name}`),
    ...Object.entries(sets)
      .filter(([, elements]) => elements.length > 0)
      .map(([name, elements]) => `add element ${table} ${name} { ${elements.join(", ")} }`),
    ...Object.entries(chains).flatMap(([name, { rules }]) => rules.map((rule) => `add rule ${table} ${name} ${rule}`)),
    "",
  ].join("\n");
}

/** Removes the table; safe when there is none ("destroy" is newer than Debian 12's nft). */
export function firewallRemoval(tag: string): string {
  return `add table inet ${tableName(tag)}\ndelete table inet ${tableName(tag)}\n`;
}

/** Fails when the table is gone, and the bridges' packets with it. */
export function requireTable(tag: string): NftOp {
  return { op: "nft-require", table: tableName(tag), set: "bridges" };
}

const setTypes = {
  /** Every bridge of the engine. */
  bridges: "type ifname;",
  /** Those of internal networks. */
  internal: "type ifname;",
  /** "br . br" where containers may talk to each other: the one pair of bridges between which anything goes. */
  icc: "type ifname . ifname;",
  /** Subnets that are hidden behind the host's address. */
  masquerade4: "type ipv4_addr; flags interval;",
  masquerade6: "type ipv6_addr; flags interval;",
  /** Which subnet lives behind which bridge. */
  home4: "type ipv4_addr . ifname; flags interval;",
  home6: "type ipv6_addr . ifname; flags interval;",
};

/** Published ports: on a given host address, and on all of them. */
export const portMaps = {
  dnat4: "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;",
  dnat4_any: "type inet_proto . inet_service : ipv4_addr . inet_service;",
  dnat6: "type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service;",
  dnat6_any: "type inet_proto . inet_service : ipv6_addr . inet_service;",
};
export type PortMap = keyof typeof portMaps;

const ported = "meta l4proto { tcp, udp, sctp } jump publish";

const chains: Readonly<Record<string, { readonly hook: string; readonly rules: readonly string[] }>> = {
  publish: {
    hook: "",
    rules: [
      "dnat ip to ip daddr . meta l4proto . th dport map @dnat4",
      "fib daddr type local dnat ip to meta l4proto . th dport map @dnat4_any",
      "dnat ip6 to ip6 daddr . meta l4proto . th dport map @dnat6",
      "meta nfproto ipv6 fib daddr type local dnat ip6 to meta l4proto . th dport map @dnat6_any",
    ],
  },
  raw: {
    hook: " { type filter hook prerouting priority raw; policy accept; }",
    // A neighbour must not reach ports published on 127.0.0.1, nor the host's own loopback through route_localnet.
    rules: ['iifname != "lo" ip daddr 127.0.0.0/8 drop'],
  },
  prerouting: { hook: " { type nat hook prerouting priority dstnat; policy accept; }", rules: [ported] },
  output: { hook: " { type nat hook output priority -100; policy accept; }", rules: [ported] },
  postrouting: {
    hook: " { type nat hook postrouting priority srcnat; policy accept; }",
    rules: [
      // Hairpin: a published port reached from its own network. The answer must come back through us to be translated
      // back. The source says which network it is: a bridged packet has no incoming interface here (br_netfilter).
      "ct status dnat ip saddr . oifname @home4 masquerade",
      "ct status dnat ip6 saddr . oifname @home6 masquerade",
      "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
      "ip saddr @masquerade4 oifname != @bridges masquerade",
      "ip6 saddr @masquerade6 oifname != @bridges masquerade",
    ],
  },
  forward: {
    hook: " { type filter hook forward priority filter; policy accept; }",
    rules: ["iifname @bridges jump ours", "oifname @bridges jump ours"],
  },
  ours: {
    hook: "",
    rules: [
      "ct state established,related accept",
      "iifname . oifname @icc accept",
      "iifname @internal drop",
      "oifname @internal drop",
      "ct status dnat accept",
      // Another network of ours, or a neighbour that routes to a container's own address: not published.
      "oifname @bridges drop",
      "accept",
    ],
  },
};

function setElements(networks: readonly NetworkRecord[]): Record<keyof typeof setTypes, string[]> {
  const elements: Record<keyof typeof setTypes, string[]> = {
    bridges: [],
    internal: [],
    icc: [],
    masquerade4: [],
    masquerade6: [],
    home4: [],
    home6: [],
  };
  for (const network of networks) {
    const name = `"${network.bridge}"`;
    const options = bridgeOptionsOf(network);
    elements.bridges.push(name);
    if (network.spec.internal) elements.internal.push(name);
    if (options.icc) elements.icc.push(`${name} . ${name}`);
    for (const { subnet } of network.spec.ipam) {
      const six = parseCidr(subnet)?.family === 6;
      elements[six ? "home6" : "home4"].push(`${subnet} . ${name}`);
      if (options.masquerade && !network.spec.internal) elements[six ? "masquerade6" : "masquerade4"].push(subnet);
    }
  }
  return elements;
}

/** Where a published port's packets go. */
export interface PortTarget {
  readonly ipv4: string;
  /** "" when the container has none. */
  readonly ipv6: string;
}

/** The map elements that publish `ports`, grouped by map; those on IPv6 addresses only where the container has one. */
export function portElements(
  ports: readonly PublishedPort[],
  target: PortTarget,
): Readonly<Record<PortMap, readonly NftElement[]>> {
  const elements: Record<PortMap, NftElement[]> = { dnat4: [], dnat4_any: [], dnat6: [], dnat6_any: [] };
  for (const port of ports) {
    const key = `${port.protocol} . ${port.hostPort}`;
    const to4 = `${target.ipv4} . ${port.containerPort}`;
    const to6 = `${target.ipv6} . ${port.containerPort}`;
    const family = parseIp(port.hostIp)?.family;
    if (port.hostIp === "0.0.0.0") elements.dnat4_any.push({ key, value: to4 });
    else if (family === 4) elements.dnat4.push({ key: `${port.hostIp} . ${key}`, value: to4 });
    else if (target.ipv6 === "") continue;
    else if (port.hostIp === "::") elements.dnat6_any.push({ key, value: to6 });
    else elements.dnat6.push({ key: `${port.hostIp} . ${key}`, value: to6 });
  }
  return elements;
}

export function publishOps(tag: string, ports: readonly PublishedPort[], target: PortTarget): readonly NftOp[] {
  return Object.entries(portElements(ports, target))
    .filter(([, elements]) => elements.length > 0)
    .map(([set, elements]) => ({ op: "nft-add-elements", table: tableName(tag), set, elements }));
}

export function unpublishOps(tag: string, ports: readonly PublishedPort[], target: PortTarget): readonly NftOp[] {
  return Object.entries(portElements(ports, target))
    .filter(([, elements]) => elements.length > 0)
    .map(([set, elements]) => ({ op: "nft-delete-elements", table: tableName(tag), set, elements }));
}

/**
 * Forgets what peers of these UDP ports were told while the ports led elsewhere or nowhere: for one that never pauses, the kernel
 * looks at the maps with its first packet only. `hostAddresses` are what a wildcard port listens on. TCP peers connect anew.
 */
export function forgetOps(ports: readonly PublishedPort[], hostAddresses: readonly string[]): readonly NftOp[] {
  return ports
    .filter((port) => port.protocol === "udp")
    .map(({ hostIp, hostPort, protocol }) => ({
      op: "conntrack-forget",
      protocol,
      port: hostPort,
      addresses: hostIp === "0.0.0.0" || hostIp === "::" ? hostAddresses : [hostIp],
    }));
}
