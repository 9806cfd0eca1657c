/** Who answers an instance's DNS questions. Pure. */
import type { NetworkRecord } from "../schema/network.ts";
import { gatewayOf } from "./bridge-plan.ts";
import type { DnsServerSpec, DnsUpstream } from "./dns-config.ts";
import type { NetworkPaths } from "./network-paths.ts";
import { hasLinks } from "./links.ts";
import { type Attachment, defaultGateway } from "./sandbox-plan.ts";

export type ResolverPlan =
  /** The nameservers of resolv.conf themselves: no user-defined network. */
  | { readonly kind: "direct" }
  /** The server of the only user-defined network. */
  | { readonly kind: "network"; readonly network: NetworkRecord }
  /**
   * One of its own, on 127.0.0.11 in its namespace, over the names of all its networks and of its links: a program asks one server
   * only, and a network's server knows one network, one set of servers upstream, and what all on the network may call each other.
   */
  | { readonly kind: "own"; readonly server: DnsServerSpec };

/** Docker's address for the same purpose; programs and images know it. */
export const ownResolverAddress = "127.0.0.11";

export function planResolver(request: {
  readonly instanceId: string;
  readonly instanceName: string;
  readonly netns: string;
  readonly attachments: readonly Attachment[];
  /** The instance's own servers; empty means the host's (or the engine's). */
  readonly dns: readonly string[];
  /** The host's servers, as far as a container can reach them. */
  readonly hostServers: readonly string[];
  readonly paths: NetworkPaths;
}): ResolverPlan {
  const { attachments, paths } = request;
  const named = attachments.map(({ network }) => network).filter(hasNames);
  const [first] = named;
  if (first === undefined) return { kind: "direct" };
  const gateway = defaultGateway(attachments);
  const linking = attachments.some(({ endpoint, network }) => hasNames(network) && hasLinks(endpoint.spec));
  const shared = !linking && named.length === 1 && (gateway === undefined || gateway.network.id === first.id);
  if (shared && (request.dns.length === 0 || gateway === undefined)) return { kind: "network", network: first };
  return {
    kind: "own",
    server: {
      id: request.instanceId,
      name: request.instanceName,
      directory: paths.sandboxDns(request.instanceId),
      listen: [ownResolverAddress],
      hostsDirectories: [
        ...named.map((network) => paths.names(network.id)),
        ...(linking ? [paths.sandboxLinks(request.instanceId)] : []),
      ],
      upstream: ownUpstream(gateway, request.dns, request.hostServers),
      subnets: named.flatMap((network) => network.spec.ipam.map((pool) => pool.subnet)),
      netns: request.netns,
    },
  };
}

/** The server of a network, on its bridge's addresses. */
export function networkServer(
  network: NetworkRecord,
  engineDns: readonly string[],
  paths: NetworkPaths,
): DnsServerSpec {
  const outside: DnsUpstream = engineDns.length > 0 ? { kind: "servers", servers: engineDns } : { kind: "host" };
  return {
    id: network.id,
    name: network.spec.name,
    directory: paths.networkDns(network.id),
    listen: [gatewayOf(network, 4), gatewayOf(network, 6)].filter((address) => address !== ""),
    hostsDirectories: [paths.names(network.id)],
    upstream: network.spec.internal ? { kind: "none" } : outside,
    subnets: network.spec.ipam.map((pool) => pool.subnet),
    netns: "",
  };
}

/** User-defined networks answer by name; the default bridge doesn't, as Docker's. */
export function hasNames(network: NetworkRecord): boolean {
  return network.spec.driver === "bridge" && !network.builtin;
}

function ownUpstream(
  gateway: Attachment | undefined,
  dns: readonly string[],
  hostServers: readonly string[],
): DnsUpstream {
  if (gateway === undefined) return { kind: "none" };
  if (dns.length > 0) return { kind: "servers", servers: dns };
  // The network's server runs on the host, so it reaches loopback resolvers that the instance can't.
  if (hasNames(gateway.network)) return { kind: "servers", servers: [gatewayOf(gateway.network, 4)] };
  return { kind: "servers", servers: hostServers };
}
