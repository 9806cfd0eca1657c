/** Networks, and each instance's place on them. Rules, DNS and namespaces live on when the engine is down. */
import type { OpContext } from "../base/op-context.ts";
import type {
  EndpointRecord,
  EndpointSpec,
  NetworkRecord,
  NetworkSpec,
  PortSpec,
  PublishedPort,
} from "../schema/network.ts";

export interface NetworkService {
  /** Makes or mends bridges, rules and DNS servers after a start, and forgets sandboxes that are not in `live`. */
  recover(ctx: OpContext, live: readonly SandboxRecord[]): Promise<void>;
  create(
    ctx: OpContext,
    spec: NetworkSpec,
  ): Promise<{ readonly network: NetworkRecord; readonly warnings: readonly string[] }>;
  /** By name, id or unambiguous id prefix. `NETWORK_NOT_FOUND`, `NETWORK_AMBIGUOUS`. */
  resolve(nameOrId: string): NetworkRecord;
  list(): readonly NetworkRecord[];
  /** Whether an endpoint may have these addresses there, were they free. `NETWORK_NOT_FOUND`, `ADDRESS_INVALID`. */
  checkEndpoint(network: string, endpoint: EndpointSpec): void;
  /** `NETWORK_IN_USE` (403, as Docker) names the endpoints; `NETWORK_BUILTIN` (403). */
  remove(ctx: OpContext, nameOrId: string): Promise<NetworkRecord>;
  prune(ctx: OpContext, filters: Readonly<Record<string, readonly string[]>>): Promise<readonly string[]>;
  /** Sandboxes that are on a network now. */
  endpointsOf(
    networkId: string,
  ): readonly { readonly instanceId: string; readonly instanceName: string; readonly endpoint: EndpointRecord }[];

  /**
   * Gives an instance its network before it starts: namespace, endpoints, published ports, DNS names.
   * All or nothing. `PORT_IN_USE` names who holds it; `ADDRESS_IN_USE`; `SUBNET_EXHAUSTED`.
   */
  setUp(ctx: OpContext, request: SandboxRequest): Promise<SandboxRecord>;
  /** Takes everything away again. Missing is no error. */
  tearDown(ctx: OpContext, instanceId: string): Promise<void>;
  /** On a running instance. */
  connect(ctx: OpContext, instanceId: string, network: string, endpoint: EndpointSpec): Promise<SandboxRecord>;
  disconnect(ctx: OpContext, instanceId: string, network: string): Promise<SandboxRecord>;
  /** Replaces the links that a running instance has on a network. */
  relink(ctx: OpContext, instanceId: string, network: string, links: readonly string[]): Promise<SandboxRecord>;
  /** Publishes further ports of a running instance, all or none. As {@link NetworkService.setUp} where one can't be had. */
  publish(ctx: OpContext, instanceId: string, specs: readonly PortSpec[]): Promise<SandboxRecord>;
  /** Takes published ports away; `rest` are the specifications of those that stay. */
  unpublish(
    ctx: OpContext,
    instanceId: string,
    change: { readonly ports: readonly PublishedPort[]; readonly rest: readonly PortSpec[] },
  ): Promise<SandboxRecord>;
  /** What a running instance's ports were asked for with. */
  portsAskedFor(instanceId: string): readonly PortSpec[];
  /** Takes away what there is of a connection that was being made, or taken away, when an engine was killed. */
  leave(ctx: OpContext, instanceId: string, network: string): Promise<void>;
  /** New name for DNS. */
  rename(ctx: OpContext, instanceId: string, newName: string): Promise<void>;
  sandbox(instanceId: string): SandboxRecord | undefined;
}

export interface SandboxRequest {
  readonly instanceId: string;
  readonly instanceName: string;
  /** "none", "host", or "bridge" for endpoints below; "container:<id>" is the caller's: it passes no request. */
  readonly mode: "none" | "host" | "bridge";
  readonly hostname: string;
  readonly domainname: string;
  /** By network name; the first in order is eth0 unless `gwPriority` says otherwise. */
  readonly endpoints: Readonly<Record<string, EndpointSpec>>;
  readonly ports: readonly PortSpec[];
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly extraHosts: readonly string[];
  /** Inside the namespace ("net.ipv4.ip_unprivileged_port_start"); Docker sets that one to 0 by default. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** It asks for its addresses by DHCP (an operating system of its own does), and gets those of its endpoints. */
  readonly dhcp?: boolean;
}

/** What was set up; kept in the store. */
export interface SandboxRecord {
  readonly instanceId: string;
  readonly instanceName: string;
  readonly mode: "none" | "host" | "bridge";
  /** Pinned namespace for the OCI spec; "" with host. */
  readonly netnsPath: string;
  readonly endpoints: readonly EndpointRecord[];
  readonly ports: readonly PublishedPort[];
  /** Files to bind over /etc/resolv.conf, /etc/hosts, /etc/hostname; the service keeps their contents up to date. */
  readonly resolvConfPath: string;
  readonly hostsPath: string;
  readonly hostnamePath: string;
}
