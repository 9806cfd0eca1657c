/** From what a user asks for to a network's record: validated, named, with its subnets. Pure but for ids and the clock. */
import { newId } from "../base/ids.ts";
import type { EngineConfig } from "../schema/config.ts";
import type { IpamPool, NetworkRecord, NetworkSpec } from "../schema/network.ts";
import { defaultBridgeOptions, parseBridgeOptions } from "./driver-options.ts";
import { networkErrors } from "./errors.ts";
import { type Cidr, formatCidr, formatIp, networkOf, overlaps, parseCidr } from "./ip-address.ts";
import { chooseSubnet, poolMistakes, withGateway } from "./ipam.ts";

export type NetworkConfig = Pick<EngineConfig, "bip" | "bridge" | "mtu" | "addressPools" | "dns" | "dnsSearch">;

/** What a definition must fit beside. */
export interface Surroundings {
  readonly networks: readonly NetworkRecord[];
  /** Destinations of the host's routes: subnets that the engine chooses stay clear of them. */
  readonly hostRoutes: readonly Cidr[];
  readonly uplinkMtu: number;
  readonly tag: string;
}

/** Names that can't be given to a network: they mean something as a network mode. */
export const builtinNames = ["bridge", "host", "none"] as const;

/** `NETWORK_NAME_INVALID`, `NETWORK_PREDEFINED`, `NETWORK_EXISTS`, `NETWORK_CONFIG_INVALID`, `POOL_OVERLAPS`, `POOLS_EXHAUSTED`, ... */
export function defineNetwork(spec: NetworkSpec, config: NetworkConfig, around: Surroundings): NetworkRecord {
  requireNewName(spec.name, around.networks);
  if (spec.driver !== "bridge") throw networkErrors.NETWORK_SINGLE_INSTANCE({ driver: spec.driver });
  const options = parseBridgeOptions(spec.options);
  const mistakes = poolMistakes(spec.ipam);
  if (mistakes.length > 0) throw networkErrors.NETWORK_CONFIG_INVALID({ reasons: mistakes });
  const id = newId();
  const given = spec.ipam.map(withGateway);
  for (const pool of given) refuseOverlap(pool.subnet, around.networks);
  const bridge = options.bridgeName === "" ? `brt-${id.slice(0, 8)}` : options.bridgeName;
  const holder = around.networks.find((other) => other.bridge === bridge);
  if (holder !== undefined) throw networkErrors.BRIDGE_NAME_TAKEN({ bridge, network: holder.spec.name });
  const ipv4Given = given.some((pool) => parseCidr(pool.subnet)?.family === 4);
  return {
    id,
    spec: { ...spec, ipam: completePools(given, spec.enableIPv6, id, config, around) },
    createdAt: new Date().toISOString(),
    bridge,
    mtu: options.mtu || config.mtu || around.uplinkMtu,
    builtin: false,
    ...(ipv4Given ? {} : { autoSubnet: true }),
  };
}

/** The default bridge, with `previous` keeping what the configuration doesn't say otherwise. */
export function defineDefaultBridge(
  previous: NetworkRecord | undefined,
  config: NetworkConfig,
  around: Surroundings,
): NetworkRecord {
  const bridge = config.bridge === "" ? `brt${around.tag}` : config.bridge;
  const mtu = config.mtu || around.uplinkMtu;
  const others = { ...around, networks: around.networks.filter((network) => network.id !== previous?.id) };
  const chosen = previous?.autoSubnet === true ? previous.spec.ipam : undefined;
  const ipam = config.bip === "" ? (chosen ?? [freePool(config, others)]) : [bipPool(config.bip, others.networks)];
  return {
    id: previous?.id ?? newId(),
    spec: builtinSpec("bridge", "bridge", ipam, defaultBridgeOptions(bridge, mtu)),
    createdAt: previous?.createdAt ?? new Date().toISOString(),
    bridge,
    mtu,
    builtin: true,
    autoSubnet: config.bip === "",
  };
}

/** "host" and "none": names for the lack of a network. */
export function defineBuiltin(name: "host" | "none"): NetworkRecord {
  return {
    id: newId(),
    spec: builtinSpec(name, name === "host" ? "host" : "null", [], {}),
    createdAt: new Date().toISOString(),
    bridge: "",
    mtu: 0,
    builtin: true,
  };
}

/** The same network on another IPv4 subnet: the host has come to use the one that the engine chose. */
export function withAnotherSubnet(network: NetworkRecord, config: NetworkConfig, around: Surroundings): NetworkRecord {
  const others = { ...around, networks: around.networks.filter((other) => other.id !== network.id) };
  const rest = network.spec.ipam.filter((pool) => parseCidr(pool.subnet)?.family === 6);
  return { ...network, spec: { ...network.spec, ipam: [freePool(config, others), ...rest] } };
}

/** `NETWORK_NAME_INVALID`, `NETWORK_PREDEFINED`, `NETWORK_EXISTS`. */
export function requireNewName(name: string, networks: readonly NetworkRecord[]): void {
  if (name.trim() === "") throw networkErrors.NETWORK_NAME_INVALID({ name, reason: "name is empty" });
  // Docker takes anything else; but what no request can name, or a terminal would not show, could never be removed again.
  if (/[/\p{Cc}]/u.test(name)) {
    throw networkErrors.NETWORK_NAME_INVALID({ name, reason: `"${name}" includes invalid characters` });
  }
  if (builtinNames.some((builtin) => builtin === name) || name === "default") {
    throw networkErrors.NETWORK_PREDEFINED({ name });
  }
  if (networks.some((network) => network.spec.name === name)) throw networkErrors.NETWORK_EXISTS({ name });
}

function completePools(
  given: readonly IpamPool[],
  ipv6: boolean,
  id: string,
  config: NetworkConfig,
  around: Surroundings,
): IpamPool[] {
  const has = (family: 4 | 6): boolean => given.some((pool) => parseCidr(pool.subnet)?.family === family);
  const v4 = has(4) ? [] : [freePool(config, around)];
  const v6 = ipv6 && !has(6) ? [withGateway({ subnet: uniqueLocalSubnet(id) })] : [];
  return [...v4, ...given, ...v6];
}

function freePool(config: NetworkConfig, around: Surroundings): IpamPool {
  const taken = [
    ...around.hostRoutes,
    ...around.networks.flatMap((network) => network.spec.ipam.flatMap((pool) => parseCidr(pool.subnet) ?? [])),
  ];
  return withGateway({ subnet: formatCidr(chooseSubnet(config.addressPools, taken)) });
}

/** "172.17.0.1/16": the bridge's address, and with it the subnet. */
function bipPool(bip: string, networks: readonly NetworkRecord[]): IpamPool {
  const address = parseCidr(bip);
  if (address === undefined) {
    throw networkErrors.NETWORK_CONFIG_INVALID({ reasons: [`invalid bip ${bip}: invalid CIDR block notation`] });
  }
  const pool: IpamPool = { subnet: formatCidr(networkOf(address)), gateway: formatIp(address) };
  if (networkOf(address).bits === address.bits) {
    throw networkErrors.NETWORK_CONFIG_INVALID({ reasons: [`invalid bip ${bip}: it names a network, not an address`] });
  }
  const mistakes = poolMistakes([pool]);
  if (mistakes.length > 0) throw networkErrors.NETWORK_CONFIG_INVALID({ reasons: mistakes });
  refuseOverlap(pool.subnet, networks);
  return pool;
}

function refuseOverlap(subnet: string, networks: readonly NetworkRecord[]): void {
  const wanted = parseCidr(subnet);
  for (const other of networks.flatMap((network) => network.spec.ipam.map((pool) => pool.subnet))) {
    const taken = parseCidr(other);
    if (wanted !== undefined && taken !== undefined && overlaps(wanted, taken)) {
      throw networkErrors.POOL_OVERLAPS({ subnet, other });
    }
  }
}

/** RFC 4193: fd00::/8, a global id and a subnet id, both from the (random) network id. */
function uniqueLocalSubnet(id: string): string {
  return `fd${id.slice(0, 2)}:${id.slice(2, 6)}:${id.slice(6, 10)}:${id.slice(10, 14)}::/64`.replace(
    /:0+(?=[0-9a-f])/g,
    ":",
  );
}

function builtinSpec(
  name: string,
  driver: NetworkSpec["driver"],
  ipam: readonly IpamPool[],
  options: Readonly<Record<string, string>>,
): NetworkSpec {
  return {
    name,
    driver,
    internal: false,
    attachable: false,
    enableIPv6: false,
    ipam: [...ipam],
    options: { ...options },
    labels: {},
  };
}
