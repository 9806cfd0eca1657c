import type { DockerHostConfig } from "../../../schema/docker/container.ts";
import type { PortProtocol, PortSpec } from "../../../schema/network.ts";
import { apiErrors } from "../errors.ts";

/** HostConfig.PortBindings. No binding, or an empty host port, is a free port of the host. */
export function portSpecs(bindings: DockerHostConfig["PortBindings"]): PortSpec[] {
  const specs: PortSpec[] = [];
  for (const [key, list] of Object.entries(bindings ?? {})) {
    const { first, last, protocol } = parsePort(key);
    for (const binding of list === null || list.length === 0 ? [{}] : list) {
      specs.push(...publish(first, last, protocol, binding.HostIp ?? "", binding.HostPort ?? ""));
    }
  }
  return specs;
}

/** "80", "80/tcp", "8000-8010/udp" as Docker writes it: "80/tcp". */
export function exposedPort(key: string): string {
  const { first, last, protocol } = parsePort(key);
  return first === last ? `${first}/${protocol}` : `${first}-${last}/${protocol}`;
}

interface Range {
  readonly first: number;
  readonly last: number;
}

export function parsePort(key: string): Range & { readonly protocol: PortProtocol } {
  const [ports = "", word = "tcp"] = key.split("/", 2);
  const protocol = word === "" ? "tcp" : word.toLowerCase();
  const range = parseRange(ports);
  if (range === undefined || range.first === 0) throw invalidPort(key);
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp") throw invalidPort(key);
  return { ...range, protocol };
}

function publish(
  first: number,
  last: number,
  protocol: PortProtocol,
  hostIp: string,
  hostPort: string,
): readonly PortSpec[] {
  const host = hostPort === "" ? { first: 0, last: 0 } : parseRange(hostPort);
  if (host === undefined) throw invalidPort(hostPort);
  const count = last - first + 1;
  const hostCount = host.last - host.first + 1;
  if (count === 1) {
    const end = host.last === host.first ? {} : { hostPortEnd: host.last };
    return [{ containerPort: first, protocol, hostIp, hostPort: host.first, ...end }];
  }
  if (host.first !== 0 && count !== hostCount) {
    throw apiErrors.API_BAD_REQUEST({
      message: `invalid ranges specified for container and host Ports: ${first}-${last} and ${hostPort}`,
    });
  }
  return Array.from({ length: count }, (_, index) => ({
    containerPort: first + index,
    protocol,
    hostIp,
    hostPort: host.first === 0 ? 0 : host.first + index,
  }));
}

function parseRange(text: string): Range | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first <= last && last <= 65_535 ? { first, last } : undefined;
}

function invalidPort(text: string) {
  return apiErrors.API_BAD_REQUEST({ message: `invalid port specification: ${JSON.stringify(text)}` });
}
