import type { OpContext } from "../base/op-context.ts";
import type { InstanceNetworkSpec, InstanceRecord } from "../schema/instance.ts";
import type { EndpointSpec, NetworkRecord } from "../schema/network.ts";
import type { SandboxRecord } from "../network/network-service.ts";
import { instanceErrors } from "./errors.ts";
import type { Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";
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
  const joining = parts.networks.resolve(network);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  refuseMix(record, joining);
  parts.networks.checkEndpoint(joining.id, endpoint);
  if (hasSandbox(record)) recordSandbox(parts, id, await parts.networks.connect(ctx, id, joining.id, endpoint));
  changeNetwork(parts, id, (present) => ({
    mode: present.mode === "" ? joining.spec.name : present.mode,
    endpoints: { ...present.endpoints, [joining.spec.name]: endpoint },
  }));
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
  const { mode, endpoints } = record.spec.network;
  if (hasSandbox(record)) recordSandbox(parts, id, await parts.networks.disconnect(ctx, id, networkId));
  else if (!(spec.name in endpoints) && mode !== spec.name && !force) {
    throw instanceErrors.NOT_CONNECTED({ network: spec.name, id });
  }
  changeNetwork(parts, id, (present) => {
    const { [spec.name]: _gone, ...rest } = present.endpoints;
    return { mode: present.mode === spec.name ? (Object.keys(rest)[0] ?? "") : present.mode, endpoints: rest };
  });
}

/** Docker's rules on who may be where: the host's network and none are for nobody else, and not to be joined later. */
function refuseMix({ spec: { network } }: InstanceRecord, joining: NetworkRecord): void {
  if (network.mode === "host" || joinedInstance(network.mode) !== undefined) throw instanceErrors.NETWORK_SHARED({});
  if (joining.spec.driver === "host") throw instanceErrors.NETWORK_HOST({});
  const others = network.mode === "none" || Object.keys(network.endpoints).length > 0;
  if (network.mode === "none" || (joining.spec.driver === "null" && others)) throw instanceErrors.NETWORK_NONE({});
}

function hasSandbox(record: InstanceRecord): boolean {
  return record.state.status === "running" || record.state.status === "paused";
}

function changeNetwork(
  parts: Parts,
  id: string,
  change: (network: InstanceNetworkSpec) => Pick<InstanceNetworkSpec, "mode" | "endpoints">,
): void {
  parts.records.update(id, (record) => {
    const network = { ...record.spec.network, ...change(record.spec.network) };
    return { ...record, spec: { ...record.spec, network } };
  });
}

function recordSandbox(parts: Parts, id: string, sandbox: SandboxRecord): void {
  parts.records.setState(id, { endpoints: [...sandbox.endpoints], ports: [...sandbox.ports] }, { durable: false });
}
