/** Which host ports an instance asks for, and which of those that it has are whose. Pure. */
import type { InstanceNetworkSpec } from "../schema/instance.ts";
import type { PortProtocol, PortSpec, PublishedPort } from "../schema/network.ts";

/** The stated ports and, with `--publish-all`, a free host port for every other exposed one. */
export function portsToPublish(network: InstanceNetworkSpec): readonly PortSpec[] {
  if (!network.publishAll) return network.ports;
  const stated = new Set(network.ports.map((port) => `${port.containerPort}/${port.protocol}`));
  const exposed = network.exposedPorts.flatMap(exposedPorts);
  return [...network.ports, ...exposed.filter((port) => !stated.has(`${port.containerPort}/${port.protocol}`))];
}

/** Of "80/tcp" or "8000-8010/udp". */
function exposedPorts(text: string): readonly PortSpec[] {
  const [, first, last, protocol] = /^(\d+)(?:-(\d+))?\/(tcp|udp|sctp)$/.exec(text) ?? [];
  if (first === undefined || (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp")) return [];
  const count = Number(last ?? first) - Number(first) + 1;
  return Array.from({ length: count }, (_, i) => ({
    containerPort: Number(first) + i,
    protocol,
    hostIp: "",
    hostPort: 0,
  }));
}

/** A port that is to be published no more. An address that is left out or "", or a host port that is left out or 0, may be any. */
export interface PortChoice {
  readonly containerPort: number;
  readonly protocol: PortProtocol;
  readonly hostIp?: string | undefined;
  readonly hostPort?: number | undefined;
}

/** `specs` without those that `choice` fits, and which of the `published` ports go with them. Undefined when it fits none. */
export function withoutPorts(
  specs: readonly PortSpec[],
  published: readonly PublishedPort[],
  choice: PortChoice,
): { readonly rest: readonly PortSpec[]; readonly ports: readonly PublishedPort[] } | undefined {
  const owned = portsBySpec(specs, published);
  const gone = specs.filter((spec) => fits(spec, owned.get(spec) ?? [], choice));
  if (gone.length === 0) return undefined;
  return {
    rest: specs.filter((spec) => !gone.includes(spec)),
    ports: gone.flatMap((spec) => owned.get(spec) ?? []),
  };
}

function fits(spec: PortSpec, owned: readonly PublishedPort[], choice: PortChoice): boolean {
  if (spec.containerPort !== choice.containerPort || spec.protocol !== choice.protocol) return false;
  const { hostIp = "", hostPort = 0 } = choice;
  const atAddress = hostIp === "" || spec.hostIp === hostIp || owned.some((port) => port.hostIp === hostIp);
  const atPort = hostPort === 0 || spec.hostPort === hostPort || owned.some((port) => port.hostPort === hostPort);
  return atAddress && atPort;
}

/** Each specification has one host port, on every address that it stands for. */
function portsBySpec(
  specs: readonly PortSpec[],
  published: readonly PublishedPort[],
): ReadonlyMap<PortSpec, readonly PublishedPort[]> {
  const left = new Set(published);
  const owned = new Map<PortSpec, readonly PublishedPort[]>();
  const order = specs.toSorted((a, b) => freedom(a) - freedom(b));
  for (const spec of order) {
    const candidates = [...left].filter((port) => mayBeOf(spec, port));
    const ports = candidates.filter(({ hostPort }) => hostPort === candidates[0]?.hostPort);
    for (const port of ports) left.delete(port);
    owned.set(spec, ports);
  }
  return owned;
}

/** The less it leaves to the engine, the fewer ports can be its own. */
function freedom({ hostPort, hostPortEnd = hostPort }: PortSpec): number {
  return hostPort === 0 ? 65_536 : hostPortEnd - hostPort;
}

function mayBeOf(spec: PortSpec, port: PublishedPort): boolean {
  const { hostPort: first, hostPortEnd: last = first } = spec;
  return (
    port.containerPort === spec.containerPort &&
    port.protocol === spec.protocol &&
    (spec.hostIp === "" || port.hostIp === spec.hostIp) &&
    (first === 0 || (port.hostPort >= first && port.hostPort <= last))
  );
}
