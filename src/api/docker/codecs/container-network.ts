import { isBerthError } from "../../../base/errors.ts";
import type { CreateContainerBody, DockerEndpointSettings } from "../../../schema/docker/container.ts";
import type { InstanceNetworkSpec } from "../../../schema/instance.ts";
import type { EndpointSpec } from "../../../schema/network.ts";
import type { DockerBackend } from "../backend.ts";
import { apiErrors } from "../errors.ts";
import { exposedPort, portSpecs } from "./ports.ts";

type Names = Pick<DockerBackend, "instances" | "networks">;

/** NetworkMode, EndpointsConfig, ports and name resolution of a new container. */
export function networkSpec(body: CreateContainerBody, names: Names): InstanceNetworkSpec {
  const host = body.HostConfig ?? {};
  const mode = networkMode(body, names);
  return {
    mode,
    endpoints: endpoints(body, mode, names),
    ports: portSpecs(host.PortBindings),
    exposedPorts: [...new Set(Object.keys(body.ExposedPorts ?? {}).map(exposedPort))],
    publishAll: host.PublishAllPorts ?? false,
    dns: host.Dns ?? [],
    dnsSearch: host.DnsSearch ?? [],
    dnsOptions: host.DnsOptions ?? [],
    extraHosts: host.ExtraHosts ?? [],
  };
}

/** How a request asks to be on one network. */
export function endpointSpec(settings: DockerEndpointSettings | null | undefined): EndpointSpec {
  const ipam = settings?.IPAMConfig;
  return {
    aliases: settings?.Aliases ?? [],
    ...(ipam?.IPv4Address ? { ipv4Address: ipam.IPv4Address } : {}),
    ...(ipam?.IPv6Address ? { ipv6Address: ipam.IPv6Address } : {}),
    ...(ipam?.LinkLocalIPs?.length ? { linkLocalAddresses: ipam.LinkLocalIPs } : {}),
    ...(settings?.MacAddress ? { macAddress: settings.MacAddress } : {}),
    ...(settings?.Links?.length ? { links: settings.Links } : {}),
    ...(settings?.DriverOpts ? { driverOpts: settings.DriverOpts } : {}),
    ...(settings?.GwPriority ? { gwPriority: settings.GwPriority } : {}),
  };
}

function networkMode(body: CreateContainerBody, names: Names): string {
  if (body.NetworkDisabled === true) return "none";
  const mode = body.HostConfig?.NetworkMode ?? "";
  if (mode === "" || mode === "default") return "bridge";
  if (mode === "none" || mode === "host") return mode;
  const other = /^container:(.*)$/.exec(mode)?.[1];
  if (other === "") {
    throw apiErrors.API_BAD_REQUEST({
      message: "invalid network mode: invalid container format container:<name|id>",
    });
  }
  if (other !== undefined) return `container:${names.instances.resolve(other).id}`;
  return networkName(mode, names);
}

/** A network by name, id or the beginning of an id: records keep the name. An unknown one is refused with the rest of the request. */
function networkName(nameOrId: string, { networks }: Names): string {
  if (nameOrId === "default") return "bridge";
  try {
    return networks.resolve(nameOrId).spec.name;
  } catch (error) {
    if (isBerthError(error, "NETWORK_NOT_FOUND")) return nameOrId;
    throw error;
  }
}

function endpoints(body: CreateContainerBody, mode: string, names: Names): Record<string, EndpointSpec> {
  const given = Object.entries(body.NetworkingConfig?.EndpointsConfig ?? {});
  const links = body.HostConfig?.Links ?? [];
  if (mode === "none" || mode === "host" || mode.startsWith("container:")) {
    refuseEndpoints(body, mode, given);
    return {};
  }
  // The network of the mode comes first: it is eth0.
  const specs: Record<string, EndpointSpec> = { [mode]: endpointSpec(undefined) };
  for (const [name, settings] of given) specs[networkName(name, names)] = endpointSpec(settings);
  const primary = specs[mode] ?? endpointSpec(undefined);
  const mac = containerMac(body, primary);
  specs[mode] = {
    ...primary,
    ...(links.length === 0 ? {} : { links: [...new Set([...(primary.links ?? []), ...links])] }),
    ...(mac === undefined ? {} : { macAddress: mac }),
  };
  return specs;
}

/** Clients name the mode itself as a network, with empty settings; more than that contradicts the mode. */
function refuseEndpoints(
  body: CreateContainerBody,
  mode: string,
  given: readonly (readonly [string, DockerEndpointSettings | null])[],
): void {
  const requested = body.HostConfig?.NetworkMode ?? "";
  const kind = mode.startsWith("container:") ? "container type" : mode;
  const others = given.filter(([name]) => name !== mode && name !== requested && name !== "default");
  if (others.length > 0 && body.NetworkDisabled !== true) {
    throw apiErrors.API_BAD_REQUEST({
      message: `conflicting options: cannot attach both user-defined and ${kind} network-mode`,
    });
  }
  if ((body.HostConfig?.Links ?? []).length > 0) {
    throw apiErrors.API_BAD_REQUEST({
      message: `conflicting options: ${kind === "host" ? "host type networking" : `${kind} network`} can't be used with links. This would result in undefined behavior`,
    });
  }
}

/** Clients before 1.44 give the address for the whole container. */
function containerMac(body: CreateContainerBody, primary: EndpointSpec): string | undefined {
  const mac = body.MacAddress ?? "";
  if (mac === "") return undefined;
  if (primary.macAddress !== undefined && primary.macAddress.toLowerCase() !== mac.toLowerCase()) {
    throw apiErrors.API_BAD_REQUEST({
      message:
        "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
    });
  }
  return mac;
}
