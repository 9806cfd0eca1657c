/** dnsmasq's configuration and the names it answers. Pure. */
import type { EndpointRecord, NetworkRecord } from "../schema/network.ts";
import type { HostsEntry } from "./hosts-file.ts";
import { parseCidr, reverseZones } from "./ip-address.ts";

/** Whom a DNS server asks about names that are not of its networks. */
export type DnsUpstream =
  /** The host's resolv.conf, followed as it changes. */
  | { readonly kind: "host" }
  | { readonly kind: "servers"; readonly servers: readonly string[] }
  /** Nobody: an internal network has no way out, not by DNS either. */
  | { readonly kind: "none" };

export interface DnsServerSpec {
  /** Unique: the network's id, or the instance's for a resolver of its own. */
  readonly id: string;
  /** For error texts. */
  readonly name: string;
  /** Configuration, pid file and identity of the server. */
  readonly directory: string;
  readonly listen: readonly string[];
  /** Files of names, one an instance; followed by inotify. */
  readonly hostsDirectories: readonly string[];
  readonly upstream: DnsUpstream;
  /** Subnets whose reverse lookups are answered here alone. */
  readonly subnets: readonly string[];
  /** Pinned namespace to run in; "" is the host's. */
  readonly netns: string;
}

/** The configuration file. `user` is whom the server becomes after binding its port; "" keeps root. */
export function dnsmasqConfig(spec: DnsServerSpec, user: string): string {
  const zones = spec.subnets.flatMap((subnet) => {
    const cidr = parseCidr(subnet);
    return cidr === undefined ? [] : reverseZones(cidr);
  });
  return [
    ...spec.listen.map((address) => `listen-address=${address}`),
    "bind-interfaces",
    "no-hosts",
    ...spec.hostsDirectories.map((directory) => `hostsdir=${directory}`),
    ...upstreamLines(spec.upstream),
    // A name without a dot is a container's or nobody's: answered at once, never sent on.
    "domain-needed",
    ...zones.map((zone) => `local=/${zone}/`),
    // A name that was looked up before its container came up must not stay unknown.
    "no-negcache",
    "dns-loop-detect",
    "cache-size=1000",
    "dns-forward-max=1000",
    `pid-file=${spec.directory}/dnsmasq.pid`,
    // To syslog, which is rotated, and without ever waiting for it.
    "log-async=25",
    user === "" ? "user=root" : `user=${user}`,
    "",
  ].join("\n");
}

function upstreamLines(upstream: DnsUpstream): readonly string[] {
  switch (upstream.kind) {
    case "host":
      return ["resolv-file=/etc/resolv.conf"];
    case "servers":
      return ["no-resolv", ...upstream.servers.map((server) => `server=${server}`)];
    case "none":
      return ["no-resolv"];
  }
}

/** The hosts file of one instance on one network. The first name is what a reverse lookup answers, as Docker's does. */
export function endpointNames(network: NetworkRecord, endpoint: EndpointRecord): string {
  const [first = ""] = endpoint.dnsNames;
  const names = [`${first}.${network.spec.name}`, ...endpoint.dnsNames].filter(isHostName).join(" ");
  const addresses = [endpoint.ipv4Cidr, endpoint.ipv6Cidr ?? ""].filter((cidr) => cidr !== "");
  return addresses.map((cidr) => `${cidr.split("/")[0] ?? ""} ${names}\n`).join("");
}

/** The hosts file of an instance's links. */
export function linkNames(links: readonly HostsEntry[]): string {
  return links.map(({ address, names }) => `${address} ${names.filter(isHostName).join(" ")}\n`).join("");
}

/** All names of an endpoint, in Docker's order: the instance's name, its aliases, its short id, its host name when one was given. */
export function dnsNamesOf(instance: {
  readonly instanceName: string;
  readonly instanceId: string;
  readonly hostname: string;
  readonly aliases: readonly string[];
}): readonly string[] {
  const shortId = instance.instanceId.slice(0, 12);
  return [...new Set([instance.instanceName, ...instance.aliases, shortId, instance.hostname])].filter(
    (name) => name !== "",
  );
}

/** dnsmasq skips a whole line with a name that it finds illegal. */
function isHostName(name: string): boolean {
  return /^[\w.-]+$/.test(name) && name.split(".").every((label) => label.length > 0 && label.length <= 63);
}
