/** The bridge driver's options (`docker network create --opt`), by Docker's names. Pure. */
import type { NetworkRecord } from "../schema/network.ts";
import { networkErrors } from "./errors.ts";
import { parseIp } from "./ip-address.ts";

export interface BridgeOptions {
  /** Interface name; "" lets the engine choose. */
  readonly bridgeName: string;
  /** Hide containers behind the host's address on the way out. */
  readonly masquerade: boolean;
  /** Containers of the network may talk to each other on unpublished ports. */
  readonly icc: boolean;
  /** Host address of ports that are published without one; "" is every address. */
  readonly hostBinding: string;
  /** Bytes; 0 is the engine's default. */
  readonly mtu: number;
  /** "eth" of "eth0". */
  readonly interfacePrefix: string;
}

const prefix = "com.docker.network.";
const names = {
  bridgeName: `${prefix}bridge.name`,
  masquerade: `${prefix}bridge.enable_ip_masquerade`,
  icc: `${prefix}bridge.enable_icc`,
  hostBinding: `${prefix}bridge.host_binding_ipv4`,
  mtu: `${prefix}driver.mtu`,
  interfacePrefix: `${prefix}container_iface_prefix`,
  gatewayMode4: `${prefix}bridge.gateway_mode_ipv4`,
  gatewayMode6: `${prefix}bridge.gateway_mode_ipv6`,
  defaultBridge: `${prefix}bridge.default_bridge`,
};

/** Strict: an option under Docker's own prefix that Berth lacks is refused, for it would be silently ignored otherwise. Others are kept for inspect. */
export function parseBridgeOptions(options: Readonly<Record<string, string>>): BridgeOptions {
  const known = new Set(Object.values(names));
  for (const option of Object.keys(options)) {
    if (option.startsWith(prefix) && !known.has(option)) {
      throw networkErrors.NETWORK_OPTION_UNSUPPORTED({ option, supported: [...known] });
    }
  }
  for (const option of [names.gatewayMode4, names.gatewayMode6]) {
    const value = options[option] ?? "";
    if (value !== "" && value !== "nat") throw invalid(option, value, "only the mode nat is supported");
  }
  return {
    bridgeName: interfaceName(options),
    masquerade: boolean(options, names.masquerade, true),
    icc: boolean(options, names.icc, true),
    hostBinding: hostBinding(options),
    mtu: mtu(options),
    interfacePrefix: interfacePrefix(options),
  };
}

export function bridgeOptionsOf(network: NetworkRecord): BridgeOptions {
  return parseBridgeOptions(network.spec.options);
}

/** What Docker shows for its default bridge. */
export function defaultBridgeOptions(bridge: string, mtuBytes: number): Readonly<Record<string, string>> {
  return {
    [names.defaultBridge]: "true",
    [names.icc]: "true",
    [names.masquerade]: "true",
    [names.hostBinding]: "0.0.0.0",
    [names.bridgeName]: bridge,
    [names.mtu]: String(mtuBytes),
  };
}

function boolean(options: Readonly<Record<string, string>>, option: string, fallback: boolean): boolean {
  const value = options[option];
  if (value === undefined || value === "") return fallback;
  if (["1", "t", "T", "true", "TRUE", "True"].includes(value)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(value)) return false;
  throw invalid(option, value, `strconv.ParseBool: parsing "${value}": invalid syntax`);
}

function mtu(options: Readonly<Record<string, string>>): number {
  const value = options[names.mtu];
  if (value === undefined || value === "") return 0;
  if (!/^\d+$/.test(value)) throw invalid(names.mtu, value, `strconv.Atoi: parsing "${value}": invalid syntax`);
  const bytes = Number(value);
  if (bytes !== 0 && (bytes < 68 || bytes > 65535)) throw invalid(names.mtu, value, "an MTU is 68 to 65535 bytes");
  return bytes;
}

function interfaceName(options: Readonly<Record<string, string>>): string {
  const value = options[names.bridgeName] ?? "";
  // Linux: IFNAMSIZ is 16 with the terminator; no slash, no space.
  if (value !== "" && !/^[\w.-]{1,15}$/.test(value)) {
    throw invalid(names.bridgeName, value, 'an interface name has 1 to 15 letters, digits, "_", "." or "-"');
  }
  return value;
}

function interfacePrefix(options: Readonly<Record<string, string>>): string {
  const value = options[names.interfacePrefix] ?? "";
  if (value === "") return "eth";
  if (!/^[A-Za-z][\w-]{0,11}$/.test(value) || value === "lo") {
    throw invalid(names.interfacePrefix, value, "an interface prefix has 1 to 12 letters and digits");
  }
  return value;
}

function hostBinding(options: Readonly<Record<string, string>>): string {
  const value = options[names.hostBinding] ?? "";
  if (value === "" || value === "0.0.0.0") return "";
  if (parseIp(value)?.family !== 4) throw invalid(names.hostBinding, value, "not an IPv4 address");
  return value;
}

function invalid(option: string, value: string, reason: string): Error {
  return networkErrors.NETWORK_OPTION_INVALID({ option, value, reason });
}
