/** The records of the network room, by network id and by instance id. */
import { type Static, Type } from "typebox";
import { EndpointRecord, EndpointSpec, NetworkRecord, PortSpec, PublishedPort } from "../schema/network.ts";
import type { Collection, Store } from "../state/store.ts";

const Strings = Type.Array(Type.String());
const SandboxMode = Type.Union([Type.Literal("none"), Type.Literal("host"), Type.Literal("bridge")]);

/** A `SandboxRequest`, kept so that names, hosts files and ports can be made anew when something around it changes. */
const StoredRequest = Type.Object({
  instanceId: Type.String(),
  instanceName: Type.String(),
  mode: SandboxMode,
  hostname: Type.String(),
  domainname: Type.String(),
  endpoints: Type.Record(Type.String(), EndpointSpec),
  ports: Type.Array(PortSpec),
  dns: Strings,
  dnsSearch: Strings,
  dnsOptions: Strings,
  extraHosts: Strings,
  sysctls: Type.Record(Type.String(), Type.String()),
  dhcp: Type.Optional(Type.Boolean()),
});

/**
 * A `SandboxRecord` with its request. Written before the first effect of a set-up and deleted after the last of a
 * tear-down: it is the journal of both, and recovery takes away what it finds for an instance that is not alive.
 */
export const StoredSandbox = Type.Object({
  instanceId: Type.String(),
  instanceName: Type.String(),
  mode: SandboxMode,
  netnsPath: Type.String(),
  endpoints: Type.Array(EndpointRecord),
  ports: Type.Array(PublishedPort),
  resolvConfPath: Type.String(),
  hostsPath: Type.String(),
  hostnamePath: Type.String(),
  request: StoredRequest,
});
export type StoredSandbox = Static<typeof StoredSandbox>;

export interface NetworkRecords {
  readonly networks: Collection<NetworkRecord>;
  readonly sandboxes: Collection<StoredSandbox>;
}

/** Nothing of a sandbox outlives a power cut: the disk is not waited for. */
export function saveSandbox(
  { store, records }: { readonly store: Store; readonly records: NetworkRecords },
  sandbox: StoredSandbox,
): void {
  store.transaction(() => records.sandboxes.put(sandbox.instanceId, sandbox), { durable: false });
}

export function openNetworkRecords(store: Store): NetworkRecords {
  return {
    networks: store.collection<NetworkRecord>("networks", NetworkRecord),
    sandboxes: store.collection<StoredSandbox>("sandboxes", StoredSandbox),
  };
}
