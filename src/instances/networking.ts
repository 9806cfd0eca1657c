import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import type { InstanceNetworkSpec, InstanceRecord } from "../schema/instance.ts";
import type { EndpointSpec, NetworkRecord } from "../schema/network.ts";
import type { SandboxRecord } from "../network/network-service.ts";
import { instanceErrors } from "./errors.ts";
import { insideOf, refuseInside } from "./files/inside.ts";
import { networkFileMounts } from "./mounts.ts";
import { beginOperation } from "./open-operations.ts";
import { driverOf, type Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";
import { interfacesOf } from "./start.ts";
import { joinedInstance } from "./validate/namespaces.ts";
import { refuseLinkLocal } from "./validate/network.ts";

export interface ConnectOptions {
  /** The caller sees to the card that a whole-OS machine needs for it; without one only a guest that can be told is connected while it runs. */
  readonly card?: boolean;
}

/** See {@link InstanceService.connect}: at once when it runs, else at its next start. */
export async function connectInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  network: string,
  endpoint: EndpointSpec,
  { card = false }: ConnectOptions = {},
): Promise<void> {
  const { id } = resolveInstance(parts.records, nameOrId);
  const joining = parts.networks.resolve(network);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  refuseMix(record, joining);
  refuseLinkLocal(record.spec, endpoint);
  parts.networks.checkEndpoint(joining.id, endpoint);
  const change = (present: InstanceNetworkSpec) => ({
    mode: present.mode === "" ? joining.spec.name : present.mode,
    endpoints: { ...present.endpoints, [joining.spec.name]: endpoint },
  });
  if (!hasSandbox(record)) return changeNetwork(parts, id, change);
  if (!card) requireNetworks(parts, record, "connect a network to");
  using operation = beginOperation(parts, "instance.network", id, { network: joining.id });
  await using reverter = new Reverter(ctx);
  const connected = await parts.networks.connect(ctx, id, joining.id, endpoint);
  reverter.add("connection", async (ctx) =>
    showInside(parts, ctx, id, await parts.networks.disconnect(ctx, id, joining.id)),
  );
  await showInside(parts, ctx, id, connected);
  recordAll(parts, id, connected, change, operation);
  reverter.commit();
}

/** See {@link InstanceService.disconnect}. */
export async function disconnectInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  network: string,
  force: boolean,
  { card = false }: ConnectOptions = {},
): Promise<void> {
  const { id } = resolveInstance(parts.records, nameOrId);
  const { id: networkId, spec } = parts.networks.resolve(network);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  const { mode, endpoints } = record.spec.network;
  if (!hasSandbox(record)) {
    if (!(spec.name in endpoints) && mode !== spec.name && !force) {
      throw instanceErrors.NOT_CONNECTED({ network: spec.name, id });
    }
    return changeNetwork(parts, id, without(spec.name));
  }
  if (!card) requireNetworks(parts, record, "disconnect a network from");
  using operation = beginOperation(parts, "instance.network", id, { network: networkId });
  await using reverter = new Reverter(ctx);
  const left = await parts.networks.disconnect(ctx, id, networkId);
  const endpoint = endpoints[spec.name] ?? { aliases: [] };
  reverter.add("disconnection", async (ctx) =>
    showInside(parts, ctx, id, await parts.networks.connect(ctx, id, networkId, endpoint)),
  );
  await showInside(parts, ctx, id, left);
  recordAll(parts, id, left, without(spec.name), operation);
  reverter.commit();
}

/** For a start that finds a connection half made or half taken away: it is no longer there. The instance runs. */
export async function leaveNetwork(parts: Parts, ctx: OpContext, id: string, networkId: string): Promise<void> {
  const { spec } = parts.networks.resolve(networkId);
  await parts.networks.leave(ctx, id, networkId);
  const sandbox = parts.networks.sandbox(id);
  if (sandbox !== undefined) await showInside(parts, ctx, id, sandbox);
  changeNetwork(parts, id, without(spec.name));
}

/** `INSIDE_UNSUPPORTED`, `INSIDE_NEEDS_RUNNING` when it is paused. */
function requireNetworks(parts: Parts, record: InstanceRecord, verb: string): void {
  if (driverOf(parts, record.spec).networks === undefined) refuseInside(parts, record, `${verb} the running`);
  else insideOf(parts, record, verb);
}

/** Where the interfaces of its namespace are not what its processes see, they are told. */
async function showInside(parts: Parts, ctx: OpContext, id: string, sandbox: SandboxRecord): Promise<void> {
  const record = parts.records.require(id);
  const { networks } = driverOf(parts, record.spec);
  const { handle } = record.state;
  if (networks === undefined || handle === null) return;
  const { endpoints } = sandbox;
  await networks.set(ctx, handle, {
    spec: record.spec,
    mounts: networkFileMounts(record, sandbox),
    endpoints,
    interfaces: interfacesOf(endpoints),
  });
}

type NetworkChange = (network: InstanceNetworkSpec) => Pick<InstanceNetworkSpec, "mode" | "endpoints">;

function without(name: string): NetworkChange {
  return ({ mode, endpoints }) => {
    const { [name]: _gone, ...rest } = endpoints;
    return { mode: mode === name ? (Object.keys(rest)[0] ?? "") : mode, endpoints: rest };
  };
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

/** What a running instance is connected to, and is to be at its next start, and that the operation is over: in one commit. */
function recordAll(
  parts: Parts,
  id: string,
  sandbox: SandboxRecord,
  change: NetworkChange,
  operation: Disposable,
): void {
  parts.store.transaction(() => {
    parts.records.setState(id, { endpoints: [...sandbox.endpoints], ports: [...sandbox.ports] });
    changeNetwork(parts, id, change);
    operation[Symbol.dispose]();
  });
}

function changeNetwork(parts: Parts, id: string, change: NetworkChange): void {
  parts.records.update(id, (record) => {
    const network = { ...record.spec.network, ...change(record.spec.network) };
    return { ...record, spec: { ...record.spec, network } };
  });
}
