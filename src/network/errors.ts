/** What can go wrong with networks, in Docker's words where Docker has some (its clients' users match on them). */
import { defineErrors } from "../base/errors.ts";

export const networkErrors = defineErrors({
  NETWORK_NOT_FOUND: { status: 404, message: (p: { name: string }) => `network ${p.name} not found` },
  NETWORK_AMBIGUOUS: {
    status: 400,
    message: (p: { name: string; matches: number }) => `network ${p.name} is ambiguous (${p.matches} matches found)`,
    hint: () => "give more digits of the id, or the name",
  },
  NETWORK_NAME_INVALID: {
    status: 400,
    message: (p: { name: string; reason: string }) => `invalid name: ${p.reason}`,
    hint: (p) => `"${p.name}": names start with a letter or digit, followed by letters, digits, "_", "." or "-"`,
  },
  NETWORK_EXISTS: { status: 409, message: (p: { name: string }) => `network with name ${p.name} already exists` },
  NETWORK_PREDEFINED: {
    status: 403,
    message: (p: { name: string }) => `operation is not permitted on predefined ${p.name} network `,
  },
  NETWORK_SINGLE_INSTANCE: {
    status: 403,
    message: (p: { driver: string }) => `only one instance of "${p.driver}" network is allowed`,
  },
  NETWORK_BUILTIN: {
    status: 403,
    message: (p: { name: string }) => `${p.name} is a pre-defined network and cannot be removed`,
  },
  NETWORK_IN_USE: {
    status: 403,
    message: (p: { name: string; endpoints: readonly { name: string; id: string }[] }) =>
      `error while removing network: network ${p.name} has active endpoints (${p.endpoints
        .map((e) => `name:"${e.name}" id:"${e.id.slice(0, 12)}"`)
        .join(", ")})`,
    hint: () => "stop the containers on it, or disconnect them",
  },
  NETWORK_CONFIG_INVALID: {
    status: 400,
    message: (p: { reasons: readonly string[] }) => `invalid network config:\n${p.reasons.join("\n")}`,
  },
  NETWORK_OPTION_INVALID: {
    status: 400,
    message: (p: { option: string; value: string; reason: string }) =>
      `failed to parse ${p.option} value: ${p.value} (${p.reason})`,
  },
  NETWORK_OPTION_UNSUPPORTED: {
    status: 400,
    message: (p: { option: string; supported: readonly string[] }) =>
      `network option ${p.option} is not supported by the bridge driver`,
    hint: (p) => `supported: ${p.supported.join(", ")}`,
  },
  POOL_OVERLAPS: {
    status: 403,
    message: (_p: { subnet: string; other: string }) =>
      "invalid pool request: Pool overlaps with other one on this address space",
    hint: (p) => `${p.subnet} overlaps with ${p.other}`,
  },
  POOLS_EXHAUSTED: {
    status: 500,
    message: (_p: { pools: readonly string[] }) => "all predefined address pools have been fully subnetted",
    hint: (p) => `remove unused networks, give --subnet, or add to the pools (${p.pools.join(", ")})`,
  },
  BRIDGE_NAME_TAKEN: {
    status: 409,
    message: (p: { bridge: string; network: string }) =>
      `bridge name ${p.bridge} is already used by network ${p.network}`,
  },
  BRIDGED_PARENT_UNUSABLE: {
    status: 400,
    message: (p: { parent: string; reason: string }) => `nothing can be bridged to ${p.parent}: ${p.reason}`,
    hint: () =>
      "make a bridge of the host's and put its network card in (networkd, ifupdown, NetworkManager), then name it: --network bridged:br0",
  },
  BRIDGED_OPTION_REFUSED: {
    status: 400,
    message: (p: { option: string }) =>
      `a bridged network can't have ${p.option}: addresses come from whatever the bridge is on`,
  },
  BRIDGED_FOR_MACHINES: {
    status: 400,
    message: (p: { network: string }) =>
      `the network ${p.network} is bridged: only a machine's operating system asks for an address there, a container has nothing that would`,
  },
  NETWORK_FILTER_INVALID: { status: 400, message: (p: { filter: string }) => `invalid filter '${p.filter}'` },
  ADDRESS_IN_USE: {
    status: 403,
    message: (_p: { address: string; network: string }) =>
      "failed to set up container networking: Address already in use",
    hint: (p) => `${p.address} on network ${p.network}`,
  },
  ADDRESS_INVALID: {
    status: 400,
    message: (p: { network: string; reason: string }) =>
      `invalid config for network ${p.network}: invalid endpoint settings:\n${p.reason}`,
  },
  SUBNET_EXHAUSTED: {
    status: 500,
    message: (p: { network: string; subnet: string }) =>
      `no available IPv4 addresses on this network's address pools: ${p.network} (${p.subnet})`,
  },
  PORT_IN_USE: {
    status: 500,
    message: (p: { instance: string; endpointId: string; bind: string; holder: string }) =>
      `failed to set up container networking: driver failed programming external connectivity on endpoint ${p.instance} (${p.endpointId}): ` +
      `Bind for ${p.bind} failed: port is already allocated`,
    hint: (p) => `held by ${p.holder}`,
  },
  PORT_BIND_FAILED: {
    status: 500,
    message: (p: { instance: string; endpointId: string; bind: string; reason: string }) =>
      `failed to set up container networking: driver failed programming external connectivity on endpoint ${p.instance} (${p.endpointId}): ` +
      `failed to bind host port for ${p.bind}: ${p.reason}`,
  },
  PORTS_UNREACHABLE: {
    status: 409,
    message: (p: { instance: string }) =>
      `cannot publish ports of ${p.instance}: it is on no network that is reached from the host`,
    hint: () => "Connect it to a bridge network first: `berth network connect NETWORK CONTAINER`.",
  },
  PORTS_EXHAUSTED: {
    status: 500,
    message: (p: { instance: string; endpointId: string; range: string }) =>
      `failed to set up container networking: driver failed programming external connectivity on endpoint ${p.instance} (${p.endpointId}): ` +
      `all ports are allocated in ${p.range}`,
  },
  ENDPOINT_EXISTS: {
    status: 403,
    message: (p: { instance: string; network: string }) =>
      `endpoint with name ${p.instance} already exists in network ${p.network}`,
  },
  NOT_CONNECTED: {
    status: 500,
    message: (p: { instance: string; network: string }) =>
      `container ${p.instance} is not connected to the network ${p.network}`,
  },
  CONNECT_REFUSED: {
    status: 400,
    message: (p: { reason: string }) => p.reason,
  },
  SANDBOX_NOT_FOUND: {
    status: 409,
    message: (p: { instance: string }) => `container ${p.instance} is not running`,
  },
  LINK_INVALID: {
    status: 400,
    message: (p: { link: string; reason: string }) => `invalid link ${p.link}: ${p.reason}`,
  },
  EXTRA_HOST_INVALID: {
    status: 400,
    message: (p: { value: string }) => `invalid IP address in add-host: "${p.value}"`,
  },
  DNS_SERVER_FAILED: {
    status: 500,
    message: (p: { server: "DNS" | "DHCP"; network: string; reason: string }) =>
      `${p.server} server of network ${p.network} did not start: ${p.reason}`,
    hint: () => "Berth needs the program dnsmasq (Debian package dnsmasq-base)",
  },
});
