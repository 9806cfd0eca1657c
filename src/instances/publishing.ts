/** Published ports changed without making the instance anew. */
import type { OpContext } from "../base/op-context.ts";
import type { SandboxRecord } from "../network/network-service.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { PortSpec, PublishedPort } from "../schema/network.ts";
import { instanceErrors } from "./errors.ts";
import { beginOperation } from "./open-operations.ts";
import type { Parts } from "./parts.ts";
import { type PortChoice, portsToPublish, withoutPorts } from "./ports.ts";
import { resolveInstance } from "./resolve.ts";
import { joinedInstance } from "./validate/namespaces.ts";
import { validatePorts } from "./validate/network.ts";

/** See {@link InstanceService.publish}. */
export async function publishPorts(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  ports: readonly PortSpec[],
): Promise<readonly PublishedPort[]> {
  validatePorts(ports);
  const { id } = resolveInstance(parts.records, nameOrId);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  refusePorts(record);
  if (!hasSandbox(record)) return statePorts(parts, record, [...portsToPublish(record.spec.network), ...ports]);
  using operation = beginOperation(parts, "instance.ports", id);
  return recordPorts(parts, id, await parts.networks.publish(ctx, id, ports), operation);
}

/** See {@link InstanceService.unpublish}. */
export async function unpublishPorts(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  choice: PortChoice,
): Promise<readonly PublishedPort[]> {
  const { id } = resolveInstance(parts.records, nameOrId);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  refusePorts(record);
  const running = hasSandbox(record);
  const asked = running ? parts.networks.portsAskedFor(id) : portsToPublish(record.spec.network);
  const change = withoutPorts(asked, record.state.ports, choice);
  if (change === undefined) {
    throw instanceErrors.PORT_NOT_PUBLISHED({
      name: record.name,
      port: portText(choice),
      ports: asked.map(portText),
    });
  }
  if (!running) return statePorts(parts, record, change.rest);
  using operation = beginOperation(parts, "instance.ports", id);
  return recordPorts(parts, id, await parts.networks.unpublish(ctx, id, change), operation);
}

/** For a start that finds a change half made: the instance has the ports that its network has. It runs. */
export function takePortsOfNetwork(parts: Parts, id: string): void {
  const sandbox = parts.networks.sandbox(id);
  if (sandbox !== undefined) recordPorts(parts, id, sandbox, { [Symbol.dispose]: () => {} });
}

/** Those of a host's or another instance's network are not its own. */
function refusePorts({ name, spec: { network }, state }: InstanceRecord): void {
  if (state.status === "removing" || state.status === "dead") throw instanceErrors.MARKED_FOR_REMOVAL({});
  const shared = network.mode === "host" || network.mode === "none" || joinedInstance(network.mode) !== undefined;
  if (shared) throw instanceErrors.PORTS_NOT_ITS_OWN({ name, mode: network.mode });
}

function hasSandbox({ state: { status } }: InstanceRecord): boolean {
  return status === "running" || status === "paused";
}

/** What a running instance has, and is to have at its next start, and that the operation is over: in one commit. */
function recordPorts(
  parts: Parts,
  id: string,
  { ports }: SandboxRecord,
  operation: Disposable,
): readonly PublishedPort[] {
  const asked = parts.networks.portsAskedFor(id);
  const record = parts.store.transaction(() => {
    parts.records.setState(id, { ports: [...ports] });
    const stated = withPorts(parts, id, asked);
    operation[Symbol.dispose]();
    return stated;
  });
  parts.publish(record, "update");
  return ports;
}

function statePorts(parts: Parts, { id }: InstanceRecord, ports: readonly PortSpec[]): readonly PublishedPort[] {
  parts.publish(withPorts(parts, id, ports), "update");
  return [];
}

/** From here on they are stated one by one: with `--publish-all` one that is taken away would come back. */
function withPorts(parts: Parts, id: string, ports: readonly PortSpec[]): InstanceRecord {
  return parts.records.update(id, ({ spec, ...record }) => ({
    ...record,
    spec: { ...spec, network: { ...spec.network, ports: [...ports], publishAll: false } },
  }));
}

function portText({ containerPort, protocol, hostIp = "", hostPort = 0 }: PortChoice): string {
  const host = [...(hostIp === "" ? [] : [hostIp]), ...(hostPort === 0 ? [] : [hostPort])].join(":");
  return `${host === "" ? "" : `${host}:`}${containerPort}/${protocol}`;
}
