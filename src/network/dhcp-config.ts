/** What dnsmasq is told to lease, to whom. Pure. */
import type { NetworkRecord } from "../schema/network.ts";
import { addressOf } from "./address-book.ts";
import { gatewayOf } from "./bridge-plan.ts";
import { parseCidr, parseIp } from "./ip-address.ts";
import type { NetworkPaths } from "./network-paths.ts";
import { hasNames } from "./resolver-plan.ts";
import type { Attachment } from "./sandbox-plan.ts";

/**
 * A server of leases on a network's bridge, for the machines on it: an operating system asks for its address, and gets the one that the
 * engine chose. A process beside the DNS server: it comes with the first machine and goes with the last, and the default bridge, which
 * has no DNS server, has machines too.
 */
export interface DhcpServerSpec {
  readonly kind: "dhcp";
  /** Unique among all servers. */
  readonly id: string;
  /** Of the network, for error texts. */
  readonly name: string;
  readonly directory: string;
  /** One with the lease of each machine, one with what goes with it; followed by inotify. */
  readonly hostsDirectories: readonly [leases: string, options: string];
  readonly bridge: string;
  readonly subnets: readonly string[];
  /** An internal network's bridge is no router. */
  readonly routes: boolean;
  readonly netns: "";
}

export function dhcpServer(network: NetworkRecord, paths: NetworkPaths): DhcpServerSpec {
  return {
    kind: "dhcp",
    id: dhcpServerId(network.id),
    name: network.spec.name,
    directory: paths.networkDhcp(network.id),
    hostsDirectories: [paths.leases(network.id), paths.leaseOptions(network.id)],
    bridge: network.bridge,
    subnets: network.spec.ipam.map((pool) => pool.subnet),
    routes: !network.spec.internal,
    netns: "",
  };
}

export function dhcpServerId(networkId: string): string {
  return `${networkId}/dhcp`;
}

/** Static leases only: who is not known gets no answer, so that other servers on the network are not disturbed. */
export function dhcpConfig(spec: DhcpServerSpec, user: string): string {
  const [leases, options] = spec.hostsDirectories;
  const subnets = spec.subnets.flatMap((subnet) => parseCidr(subnet) ?? []);
  const six = subnets.some(({ family }) => family === 6);
  return [
    "port=0",
    // By the interface and not by its address: the socket is bound to the device, so that servers of other bridges can have the port too.
    `interface=${spec.bridge}`,
    "except-interface=lo",
    "bind-interfaces",
    ...spec.subnets.flatMap((subnet) => rangeLine(subnet)),
    "dhcp-ignore=tag:!known",
    "dhcp-authoritative",
    `dhcp-hostsdir=${leases}`,
    `dhcp-optsdir=${options}`,
    // Each machine's own options come with its lease; without one, no router is named.
    "dhcp-option=option:router",
    ...(six ? ["enable-ra", ...(spec.routes ? [] : [`ra-param=${spec.bridge},0,0`])] : []),
    // Every lease is fixed: there is nothing to remember.
    "leasefile-ro",
    `pid-file=${spec.directory}/dnsmasq.pid`,
    "log-async=25",
    user === "" ? "user=root" : `user=${user}`,
    "",
  ].join("\n");
}

const leaseTime = "1h";

function rangeLine(subnet: string): readonly string[] {
  const cidr = parseCidr(subnet);
  if (cidr === undefined) return [];
  const [base = ""] = subnet.split("/");
  if (cidr.family === 6) return [`dhcp-range=${base},static,${cidr.prefix},${leaseTime}`];
  return [`dhcp-range=${base},static,${netmask(cidr.prefix)},${leaseTime}`];
}

function netmask(prefix: number): string {
  const bits = prefix === 0 ? 0 : (~0 << (32 - prefix)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join(".");
}

/** What a machine is told besides its address. */
export interface LeaseRequest {
  readonly attachment: Attachment;
  /** Its default route goes through this network. */
  readonly isGateway: boolean;
  readonly hostname: string;
  readonly domainname: string;
  /** Its own servers; none: the network's, or the host's on a network without names. */
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  /** The host's servers, as far as a machine can reach them. */
  readonly hostServers: readonly string[];
}

/** One machine's lease on one network, in dnsmasq's words. */
export interface LeaseFiles {
  readonly lease: string;
  readonly options: string;
  /** The words of the lease: two that have one in common can't be told apart. */
  readonly keys: readonly string[];
}

/** `tag` ties the two files together. */
export function leaseFiles(tag: string, request: LeaseRequest): LeaseFiles {
  const { endpoint, network } = request.attachment;
  const ipv4 = addressOf(endpoint.ipv4Cidr);
  const ipv6 = addressOf(endpoint.ipv6Cidr ?? "");
  const names = isLabel(request.hostname) ? [request.hostname] : [];
  const words = [
    endpoint.macAddress,
    `set:${tag}`,
    ...(ipv4 === "" ? [] : [ipv4]),
    ...(ipv6 === "" ? [] : [`[${ipv6}]`]),
    ...names,
  ];
  const servers = serversFor(request);
  const search = request.dnsSearch.filter((domain) => domain !== "." && isDomain(domain));
  const option = (name: string, values: readonly string[]) => {
    return values.length === 0 ? [] : [`tag:${tag},${name},${values.join(",")}\n`];
  };
  const gateway = request.isGateway ? gatewayOf(network, 4) : "";
  return {
    lease: `${words.join(",")}\n`,
    keys: words,
    options: [
      ...option("option:router", gateway === "" ? [] : [gateway]),
      ...option("option:dns-server", ofFamily(servers, 4)),
      ...option("option6:dns-server", ipv6 === "" ? [] : ofFamily(servers, 6).map((server) => `[${server}]`)),
      ...option("option:mtu", [String(network.mtu)]),
      ...option("option:domain-name", isDomain(request.domainname) ? [request.domainname] : []),
      ...option("option:domain-search", search),
      ...option("option6:domain-search", ipv6 === "" ? [] : search),
    ].join(""),
  };
}

function serversFor({ attachment: { network }, dns, hostServers }: LeaseRequest): readonly string[] {
  if (dns.length > 0) return dns;
  if (!hasNames(network)) return hostServers;
  return [gatewayOf(network, 4), gatewayOf(network, 6)].filter((address) => address !== "");
}

function ofFamily(addresses: readonly string[], family: 4 | 6): readonly string[] {
  return addresses.filter((address) => parseIp(address)?.family === family);
}

function isLabel(name: string): boolean {
  return /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/.test(name);
}

/** Nothing that dnsmasq would take for something else, a comma for one. */
function isDomain(name: string): boolean {
  return name.length <= 253 && name.split(".").every(isLabel);
}
