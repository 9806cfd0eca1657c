import type { OpContext } from "../base/op-context.ts";
import type { EndpointSpec } from "../schema/network.ts";
import type { SandboxRecord } from "../network/network-service.ts";
import { instanceErrors } from "./errors.ts";
import type { Parts } from "./parts.ts";
import { isActive, resolveInstance } from "./resolve.ts";
import { joinedInstance } from "./validate/namespaces.ts";

/** See {@link InstanceService.connect}: at once when it runs, else at its next start. */
export async function connectInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  network: string,
  endpoint: EndpointSpec,
): Promise<void> {
  const { id } = resolveInstance(parts.records, nameOrId);
  const { id: networkId, spec } = parts.networks.resolve(network);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  const { mode } = record.spec.network;
  if (mode === "host" || joinedInstance(mode) !== undefined) throw instanceErrors.NETWORK_SHARED({});
  if (endpointName(parts, record.spec.network.endpoints, networkId) !== undefined) {
    throw instanceErrors.ALREADY_CONNECTED({ network: spec.name, name: record.name });
  }
  if (isActive(record) && record.state.status !== "restarting") {
    recordSandbox(parts, id, await parts.networks.connect(ctx, id, networkId, endpoint));
  }
  parts.records.update(id, (present) => {
    const endpoints = { ...present.spec.network.endpoints, [spec.name]: endpoint };
    // Docker leaves "none" behind when a container joins a real network.
    const newMode = present.spec.network.mode === "none" ? spec.name : present.spec.network.mode;
    return { ...present, spec: { ...present.spec, network: { ...present.spec.network, mode: newMode, endpoints } } };
  });
}

/** See {@link InstanceService.disconnect}. */
export async function disconnectInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  network: string,
  force: boolean,
): Promise<void> {
  const { id } = resolveInstance(parts.records, nameOrId);
  const { id: networkId, spec } = parts.networks.resolve(network);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  const name = endpointName(parts, record.spec.network.endpoints, networkId);
  if (name === undefined && !force) throw instanceErrors.NOT_CONNECTED({ network: spec.name, id });
  if (isActive(record) && record.state.status !== "restarting") {
    recordSandbox(parts, id, await parts.networks.disconnect(ctx, id, networkId));
  }
  parts.records.update(id, (present) => {
    const { [name ?? spec.name]: _gone, ...endpoints } = present.spec.network.endpoints;
    const first = Object.keys(endpoints)[0] ?? "none";
    const mode = present.spec.network.mode === name ? first : present.spec.network.mode;
    return { ...present, spec: { ...present.spec, network: { ...present.spec.network, mode, endpoints } } };
  });
}

/** The key under which the spec holds an endpoint on this network: a name or an id, as its user wrote it. */
function endpointName(
  parts: Parts,
  endpoints: Readonly<Record<string, EndpointSpec>>,
  networkId: string,
): string | undefined {
  const known = new Map(parts.networks.list().map(({ id, spec }) => [spec.name, id]));
  return Object.keys(endpoints).find((name) => name === networkId || known.get(name) === networkId);
}

function recordSandbox(parts: Parts, id: string, sandbox: SandboxRecord): void {
  parts.records.setState(id, { endpoints: [...sandbox.endpoints], ports: [...sandbox.ports] }, { durable: false });
}
