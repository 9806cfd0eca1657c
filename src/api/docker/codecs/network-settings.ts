/** Docker's NetworkSettings: endpoints by network, the older fields of the default bridge, and ports. */
import type { NetworkService } from "../../../network/network-service.ts";
import type { InstanceRecord } from "../../../schema/instance.ts";
import type { EndpointRecord, EndpointSpec } from "../../../schema/network.ts";

/** The older top-level fields (they say the default bridge's address only) and `Networks`. */
export function networkSettings(record: InstanceRecord, networks: NetworkService): object {
  const bridge = record.state.endpoints.find((endpoint) => endpoint.networkName === "bridge");
  const addresses = addressFields(bridge);
  return {
    EndpointID: bridge?.id ?? "",
    ...addresses,
    MacAddress: bridge?.macAddress ?? "",
    Networks: endpointSettings(record, networks),
  };
}

/** `Networks` of inspect and list: where it is, or where it will be once started. */
export function endpointSettings(record: InstanceRecord, networks: NetworkService): Record<string, object> {
  const { mode, endpoints } = record.spec.network;
  if (mode.startsWith("container:")) return {};
  const live = new Map(record.state.endpoints.map((endpoint) => [endpoint.networkName, endpoint]));
  // One that has never run is on no network yet.
  const known = record.state.startedAt === "" ? [] : networks.list();
  const ids = new Map(known.map((network) => [network.spec.name, network.id]));
  const names = new Set([
    ...Object.keys(endpoints),
    ...live.keys(),
    ...(mode === "host" || mode === "none" ? [mode] : []),
  ]);
  const settings: Record<string, object> = {};
  for (const name of names) {
    const endpoint = live.get(name);
    const spec = endpoint?.spec ?? endpoints[name] ?? { aliases: [] };
    settings[name] = endpointJson(name, spec, endpoint, endpoint?.networkId ?? ids.get(name) ?? "");
  }
  return settings;
}

function endpointJson(
  name: string,
  spec: EndpointSpec,
  endpoint: EndpointRecord | undefined,
  networkId: string,
): object {
  const { ipv4Address, ipv6Address, linkLocalAddresses } = spec;
  const fixed = {
    ...(ipv4Address === undefined ? {} : { IPv4Address: ipv4Address }),
    ...(ipv6Address === undefined ? {} : { IPv6Address: ipv6Address }),
    ...(linkLocalAddresses === undefined ? {} : { LinkLocalIPs: linkLocalAddresses }),
  };
  return {
    IPAMConfig: Object.keys(fixed).length === 0 ? null : fixed,
    Links: spec.links ?? null,
    Aliases: spec.aliases.length === 0 ? null : spec.aliases,
    MacAddress: endpoint?.macAddress ?? spec.macAddress ?? "",
    DriverOpts: spec.driverOpts ?? null,
    GwPriority: spec.gwPriority ?? 0,
    NetworkID: networkId,
    EndpointID: endpoint?.id ?? "",
    ...addressFields(endpoint),
    DNSNames: name === "bridge" || endpoint === undefined ? null : endpoint.dnsNames,
  };
}

function addressFields(endpoint: EndpointRecord | undefined): object {
  const v4 = splitCidr(endpoint?.ipv4Cidr);
  const v6 = splitCidr(endpoint?.ipv6Cidr);
  return {
    Gateway: endpoint?.gateway ?? "",
    IPAddress: v4.address,
    IPPrefixLen: v4.prefix,
    IPv6Gateway: endpoint?.ipv6Gateway ?? "",
    GlobalIPv6Address: v6.address,
    GlobalIPv6PrefixLen: v6.prefix,
  };
}

export function splitCidr(cidr: string | undefined): { readonly address: string; readonly prefix: number } {
  const [address = "", prefix = "0"] = (cidr ?? "").split("/");
  return { address, prefix: Number(prefix) };
}

interface HostPort {
  readonly HostIp: string;
  readonly HostPort: string;
}

/** "80/tcp" -> where it is published; null for one that is only exposed. Empty when it does not run. */
export function portMap(record: InstanceRecord): Record<string, HostPort[] | null> {
  const map: Record<string, HostPort[] | null> = {};
  if (!hasOwnAddress(record)) return map;
  for (const port of record.spec.network.exposedPorts) {
    if (!port.includes("-")) map[port] = null;
  }
  for (const { containerPort, protocol, hostIp, hostPort } of record.state.ports) {
    const list = (map[`${containerPort}/${protocol}`] ??= []);
    list.push({ HostIp: hostIp, HostPort: String(hostPort) });
  }
  return map;
}

/** One that runs on networks of its own: on the host's, on none or on another's, its ports say nothing. */
function hasOwnAddress({ state, spec }: InstanceRecord): boolean {
  const { mode } = spec.network;
  return state.pid !== 0 && mode !== "host" && mode !== "none" && !mode.startsWith("container:");
}

/** The same as `docker ps` gets it. */
export function portList(record: InstanceRecord): readonly object[] {
  if (!hasOwnAddress(record)) return [];
  const published = record.state.ports.map((port) => ({
    IP: port.hostIp,
    PrivatePort: port.containerPort,
    PublicPort: port.hostPort,
    Type: port.protocol,
  }));
  const taken = new Set(record.state.ports.map((port) => `${port.containerPort}/${port.protocol}`));
  const exposed = record.spec.network.exposedPorts.flatMap((port) => {
    const [number, protocol] = port.split("/");
    return taken.has(port) || port.includes("-") ? [] : [{ PrivatePort: Number(number), Type: protocol }];
  });
  return [...exposed, ...published];
}
