import { type Static, Type } from "typebox";

const StringMap = Type.Record(Type.String(), Type.String());

/** An address pool of a network. All in CIDR or plain IPv4/IPv6 notation. */
export const IpamPool = Type.Object({
  subnet: Type.String(),
  gateway: Type.Optional(Type.String()),
  /** Only hand out addresses from this part of the subnet. */
  ipRange: Type.Optional(Type.String()),
  /** Addresses never handed out (Docker's `--aux-address name=ip`). */
  auxAddresses: Type.Optional(StringMap),
});
export type IpamPool = Static<typeof IpamPool>;

/** What a user asks for with `network create`. */
export const NetworkSpec = Type.Object({
  name: Type.String(),
  driver: Type.Union([Type.Literal("bridge"), Type.Literal("bridged"), Type.Literal("host"), Type.Literal("null")]),
  /** No route to anywhere but the network itself. */
  internal: Type.Boolean(),
  /** Containers may be connected by hand; kept for inspect (it only matters to Swarm). */
  attachable: Type.Boolean(),
  enableIPv6: Type.Boolean(),
  /** Empty: a free subnet is chosen from the engine's address pools. */
  ipam: Type.Array(IpamPool),
  /** Docker shows them as they came: none, or an empty map. */
  ipamOptions: Type.Optional(StringMap),
  /** Docker's driver options, e.g. "com.docker.network.bridge.enable_icc", "com.docker.network.driver.mtu". */
  options: StringMap,
  labels: StringMap,
});
export type NetworkSpec = Static<typeof NetworkSpec>;

/** A network in the store. */
export const NetworkRecord = Type.Object({
  id: Type.String(),
  spec: NetworkSpec,
  /** ISO 8601. */
  createdAt: Type.String(),
  /** Name of the bridge interface; empty for host and null. */
  bridge: Type.String(),
  /** Bytes. */
  mtu: Type.Integer(),
  /** The engine's own ("bridge", "host", "none"): can't be removed. */
  builtin: Type.Boolean(),
  /** The engine chose the subnet: it may choose another one when the host has come to use it while the bridge was down. */
  autoSubnet: Type.Optional(Type.Boolean()),
});
export type NetworkRecord = Static<typeof NetworkRecord>;

/** How an instance asks to be on one network. */
export const EndpointSpec = Type.Object({
  /** Fixed address; else the next free one. */
  ipv4Address: Type.Optional(Type.String()),
  ipv6Address: Type.Optional(Type.String()),
  /** Further addresses of the interface, in 169.254.0.0/16 or fe80::/10: for programs that want one, nothing is routed there. */
  linkLocalAddresses: Type.Optional(Type.Array(Type.String())),
  macAddress: Type.Optional(Type.String()),
  /** Further DNS names on this network. */
  aliases: Type.Array(Type.String()),
  /** Docker's legacy links: "container:alias". */
  links: Type.Optional(Type.Array(Type.String())),
  driverOpts: Type.Optional(StringMap),
  /** Which network gives the default route: the highest wins. */
  gwPriority: Type.Optional(Type.Integer()),
});
export type EndpointSpec = Static<typeof EndpointSpec>;

/** An instance's live attachment to a network. */
export const EndpointRecord = Type.Object({
  id: Type.String(),
  networkId: Type.String(),
  networkName: Type.String(),
  spec: EndpointSpec,
  /** Inside the instance: "eth0", ... */
  interfaceName: Type.String(),
  /** The host's end of the veth pair (a tap device for a VM). */
  hostInterface: Type.String(),
  /** With prefix length, "172.20.0.2/16". Empty on host and null networks. */
  ipv4Cidr: Type.String(),
  ipv6Cidr: Type.Optional(Type.String()),
  gateway: Type.String(),
  ipv6Gateway: Type.Optional(Type.String()),
  macAddress: Type.String(),
  /** All names that DNS answers for it on this network. */
  dnsNames: Type.Array(Type.String()),
  /** The network's own name server, of a network that has names; also where it is no gateway. */
  nameServer: Type.Optional(Type.String()),
});
export type EndpointRecord = Static<typeof EndpointRecord>;

export const PortProtocol = Type.Union([Type.Literal("tcp"), Type.Literal("udp"), Type.Literal("sctp")]);
export type PortProtocol = Static<typeof PortProtocol>;

/** A port to publish. `hostPort` 0 means a free one is chosen; a range picks the first free in it. */
export const PortSpec = Type.Object({
  containerPort: Type.Integer({ minimum: 1, maximum: 65535 }),
  protocol: PortProtocol,
  /** "" means every address of the host. */
  hostIp: Type.String(),
  hostPort: Type.Integer({ minimum: 0, maximum: 65535 }),
  hostPortEnd: Type.Optional(Type.Integer({ minimum: 0, maximum: 65535 })),
});
export type PortSpec = Static<typeof PortSpec>;

/** A port as published: `hostIp` "0.0.0.0" (or a given address), `hostPort` never 0. */
export const PublishedPort = Type.Object({
  containerPort: Type.Integer(),
  protocol: PortProtocol,
  hostIp: Type.String(),
  hostPort: Type.Integer(),
});
export type PublishedPort = Static<typeof PublishedPort>;
