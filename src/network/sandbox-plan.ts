/** What an instance's place on the networks is in the kernel. Pure. */
import { randomBytes } from "node:crypto";
import type { KernelOp, Route } from "../host/kernel-ops.ts";
import type { EndpointRecord, NetworkRecord } from "../schema/network.ts";
import { gatewayOf } from "./bridge-plan.ts";
import { bridgeNameOf } from "./bridged.ts";
import { bridgeOptionsOf } from "./driver-options.ts";
import type { PortTarget } from "./firewall.ts";
import { addressOf } from "./address-book.ts";
import { parseCidr, parseIp } from "./ip-address.ts";

/** An endpoint with the network that it is on. */
export interface Attachment {
  readonly endpoint: EndpointRecord;
  readonly network: NetworkRecord;
}

/** Docker's defaults inside every namespace that isn't the host's; the user's own come after and win. */
const defaultSysctls = {
  "net.ipv4.ip_unprivileged_port_start": "0",
  "net.ipv4.ping_group_range": "0 2147483647",
};

/** The namespace, with everything on it; publishing is separate. */
export function sandboxUp(
  netns: string,
  attachments: readonly Attachment[],
  options: { readonly hairpin: boolean; readonly sysctls: Readonly<Record<string, string>> },
): readonly KernelOp[] {
  const gateway = defaultGateway(attachments);
  // Others than net.* belong to other namespaces: the runtime sets them.
  const asked = Object.entries(options.sysctls).filter(([key]) => /^net[./]/.test(key));
  return [
    { op: "netns-create", path: netns },
    ...Object.entries(defaultSysctls).map(
      ([key, value]) => ({ op: "sysctl", netns, key, value, optional: true }) as const,
    ),
    ...attachments.flatMap((attachment) =>
      attachmentUp(netns, attachment, { hairpin: options.hairpin, gateway: attachment === gateway }),
    ),
    ...asked.map(([key, value]) => ({ op: "sysctl", netns, key, value }) as const),
  ];
}

/** One veth pair into `netns`, configured; with the default route when it is the `gateway`. */
export function attachmentUp(
  netns: string,
  { endpoint, network }: Attachment,
  options: { readonly hairpin: boolean; readonly gateway: boolean },
): readonly KernelOp[] {
  const { interfaceName: name, ipv6Cidr = "" } = endpoint;
  const linkLocal = (endpoint.spec.linkLocalAddresses ?? []).map(linkLocalCidr);
  const ipv6 = ipv6Cidr !== "" || linkLocal.some((cidr) => parseCidr(cidr)?.family === 6);
  return [
    {
      op: "veth-create",
      name: endpoint.hostInterface,
      bridge: bridgeNameOf(network),
      netns,
      peer: name,
      mtu: network.mtu,
      mac: endpoint.macAddress,
      // A bridged packet that is translated back to its own sender must leave by the port it came in (br_netfilter).
      hairpin: options.hairpin,
    },
    // Without addresses of its own from us, the interface would make itself link-local ones and listen to advertisements.
    // With them, the address must be usable at once: the engine knows that nobody else has it.
    {
      op: "sysctl",
      netns,
      key: `net/ipv6/conf/${name}/${ipv6 ? "accept_dad" : "disable_ipv6"}`,
      value: ipv6 ? "0" : "1",
      optional: true,
    },
    // Its routes are ours: what a server of leases for machines tells the whole network is not for it.
    ...(ipv6
      ? [{ op: "sysctl", netns, key: `net/ipv6/conf/${name}/accept_ra`, value: "0", optional: true } as const]
      : []),
    {
      op: "link-configure",
      netns,
      name,
      addresses: [endpoint.ipv4Cidr, ipv6Cidr, ...linkLocal].filter((cidr) => cidr !== ""),
      routes: options.gateway ? defaultRoutes({ endpoint, network }) : [],
    },
  ];
}

/** With the prefix length that all link-local addresses of its family share. */
function linkLocalCidr(address: string): string {
  return `${address}/${parseIp(address)?.family === 6 ? 64 : 16}`;
}

/** Routes to everywhere, through the gateway of `attachment`. */
export function defaultRoutes({ endpoint, network }: Attachment): readonly Route[] {
  const routes: Route[] = [];
  const [v4, v6] = [gatewayOf(network, 4), gatewayOf(network, 6)];
  if (endpoint.ipv4Cidr !== "" && v4 !== "") {
    routes.push({ destination: "0.0.0.0/0", gateway: v4, device: endpoint.interfaceName });
  }
  if ((endpoint.ipv6Cidr ?? "") !== "" && v6 !== "") {
    routes.push({ destination: "::/0", gateway: v6, device: endpoint.interfaceName });
  }
  return routes;
}

/**
 * The attachment that the default route and the published ports go through: that of the highest `gwPriority`, of equals the
 * first by name, as Docker; never one on an internal network.
 */
export function defaultGateway(attachments: readonly Attachment[]): Attachment | undefined {
  return attachments
    .filter(({ network }) => network.spec.driver === "bridge" && !network.spec.internal)
    .toSorted((a, b) => priorityOf(b) - priorityOf(a) || byName(a.network, b.network))
    .at(0);
}

/** Networks in the order of their interfaces: the one with the default route becomes eth0. */
export function interfaceOrder<T extends { readonly network: NetworkRecord; readonly priority: number }>(
  wanted: readonly T[],
): readonly T[] {
  return [...wanted].sort(
    (a, b) =>
      Number(a.network.spec.internal) - Number(b.network.spec.internal) ||
      b.priority - a.priority ||
      byName(a.network, b.network),
  );
}

function byName(a: NetworkRecord, b: NetworkRecord): number {
  return a.spec.name < b.spec.name ? -1 : Number(a.spec.name > b.spec.name);
}

export function portTargetOf(attachment: Attachment): PortTarget {
  return {
    ipv4: addressOf(attachment.endpoint.ipv4Cidr),
    ipv6: addressOf(attachment.endpoint.ipv6Cidr ?? ""),
  };
}

/** The first free "eth<n>", by the network's own prefix. */
export function freeInterfaceName(network: NetworkRecord, taken: readonly string[]): string {
  const prefix = bridgeOptionsOf(network).interfacePrefix;
  for (let n = 0; ; n++) {
    if (!taken.includes(`${prefix}${n}`)) return `${prefix}${n}`;
  }
}

/**
 * Made from the IPv4 address, as Docker did for long: when an address is given to the next container, what the host and its
 * neighbours remember about it stays right.
 */
export function macFor(ipv4Cidr: string): string {
  const bits = parseIp(addressOf(ipv4Cidr))?.bits ?? 0n;
  const octets = [24n, 16n, 8n, 0n].map((shift) => Number((bits >> shift) & 0xffn));
  return ["02", "42", ...octets.map((octet) => octet.toString(16).padStart(2, "0"))].join(":");
}

/** Where neighbours are not ours: locally administered, and nobody's yet. */
export function randomMac(): string {
  return ["02", ...Array.from(randomBytes(5), (byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

function priorityOf({ endpoint }: Attachment): number {
  return endpoint.spec.gwPriority ?? 0;
}
