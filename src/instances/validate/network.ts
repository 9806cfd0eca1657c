import { isIP } from "node:net";
import type { EndpointSpec, PortSpec } from "../../schema/network.ts";
import type { InstanceRequest } from "../instance-service.ts";
import type { InstanceSpec } from "../../schema/instance.ts";
import { instanceErrors } from "../errors.ts";
import { invalid } from "./invalid.ts";
import { joinedInstance, type NamespaceTargets } from "./namespaces.ts";

export interface NetworkNames extends NamespaceTargets {
  /** Throws `NETWORK_NOT_FOUND`. */
  requireNetwork(nameOrId: string): void;
  /** Throws `ADDRESS_INVALID`. */
  checkEndpoint(network: string, endpoint: EndpointSpec): void;
}

export function validateNetwork(request: InstanceRequest, names: NetworkNames): readonly string[] {
  const { network } = request;
  if (network.mode.startsWith("container:")) {
    validateJoined(request, names);
    return [];
  }
  for (const host of network.extraHosts) validateExtraHost(host);
  for (const server of network.dns) {
    if (isIP(server) === 0) throw invalid(`${server} is not an ip address`);
  }
  for (const port of network.exposedPorts) {
    if (!/^\d{1,5}(-\d{1,5})?\/(tcp|udp|sctp)$/.test(port)) throw invalid(`invalid port specification: "${port}"`);
  }
  validatePorts(network.ports);
  if (network.mode === "none" || network.mode === "host") {
    if (Object.keys(network.endpoints).some((name) => name !== network.mode)) {
      throw invalid(
        network.mode === "host"
          ? "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
          : "container cannot be connected to multiple networks with one of the networks in private (none) mode",
      );
    }
    return network.mode === "host" && network.ports.length > 0
      ? ["Published ports are discarded when using host network mode"]
      : [];
  }
  names.requireNetwork(network.mode);
  for (const [name, endpoint] of Object.entries(network.endpoints)) {
    names.requireNetwork(name);
    validateEndpoint(request, name);
    names.checkEndpoint(name, endpoint);
  }
  return [];
}

/** `LINK_LOCAL_INSIDE`: what is set on its namespace's interface its guest would not have. */
export function refuseLinkLocal({ isolation }: Pick<InstanceSpec, "isolation">, endpoint: EndpointSpec): void {
  if (isolation === "vm" && (endpoint.linkLocalAddresses ?? []).length > 0) throw instanceErrors.LINK_LOCAL_INSIDE({});
}

export function validatePorts(ports: readonly PortSpec[]): void {
  for (const { hostIp, hostPort, hostPortEnd } of ports) {
    if (hostIp !== "" && isIP(hostIp) === 0) throw invalid(`invalid IP address: ${hostIp}`);
    if (hostPortEnd !== undefined && hostPortEnd < hostPort) {
      throw invalid(`invalid port specification: "${hostPort}-${hostPortEnd}"`);
    }
  }
}

function validateJoined(request: InstanceRequest, names: NetworkNames): void {
  const { network } = request;
  const other = joinedInstance(network.mode);
  if (other === undefined) throw invalid("invalid network mode: container: needs the name or id of a container");
  const conflicts: readonly (readonly [boolean, string])[] = [
    [request.hostname !== "", "hostname and the network mode"],
    [network.ports.length > 0 || network.publishAll, "port publishing and the container type network mode"],
    [network.exposedPorts.length > 0, "port exposing and the container type network mode"],
    [network.extraHosts.length > 0, "custom host-to-IP mapping and the network mode"],
    [network.dns.length > 0, "dns and the network mode"],
    [Object.keys(network.endpoints).length > 0, "container sharing a network namespace and networks of its own"],
  ];
  for (const [conflicting, what] of conflicts) {
    if (conflicting) throw invalid(`conflicting options: ${what}`);
  }
  names.resolve(other);
}

function validateEndpoint(request: InstanceRequest, name: string): void {
  const endpoint = request.network.endpoints[name];
  if (endpoint === undefined) return;
  refuseLinkLocal(request, endpoint);
  const { ipv4Address, ipv6Address, macAddress } = endpoint;
  if (ipv4Address !== undefined && ipv4Address !== "" && isIP(ipv4Address) !== 4) {
    throw invalid(`invalid IPv4 address: ${ipv4Address}`);
  }
  if (ipv6Address !== undefined && ipv6Address !== "" && isIP(ipv6Address) !== 6) {
    throw invalid(`invalid IPv6 address: ${ipv6Address}`);
  }
  if (macAddress !== undefined && macAddress !== "" && !/^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(macAddress)) {
    throw invalid(`invalid MAC address: ${macAddress}`);
  }
}

function validateExtraHost(entry: string): void {
  const [, host, ip] = /^([^:=\s]+)[:=](.+)$/.exec(entry) ?? [];
  if (host === undefined || ip === undefined) throw invalid(`bad format for add-host: "${entry}"`);
  const address = ip.replace(/^\[(.*)\]$/, "$1");
  if (address !== "host-gateway" && isIP(address) === 0) throw invalid(`invalid IP address in add-host: "${ip}"`);
}
