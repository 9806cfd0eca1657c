/** What the parts of the network room share. */
import type { OpContext } from "../base/op-context.ts";
import type { Host } from "../host/host.ts";
import type { NetworkRecord } from "../schema/network.ts";
import type { EventBus } from "../state/events.ts";
import type { Store } from "../state/store.ts";
import type { AddressBook } from "./address-book.ts";
import type { Bridges } from "./bridges.ts";
import type { DhcpLeases } from "./dhcp-leases.ts";
import type { InstanceNames } from "./instance-names.ts";
import type { NetworkConfig } from "./network-definition.ts";
import type { NetworkPaths } from "./network-paths.ts";
import type { NetworkRecords, StoredSandbox } from "./network-store.ts";
import type { PortAllocator } from "./ports.ts";

export interface EngineParts {
  readonly store: Store;
  readonly host: Host;
  readonly events: EventBus;
  readonly config: NetworkConfig;
  readonly tag: string;
  readonly paths: NetworkPaths;
  readonly records: NetworkRecords;
  readonly addresses: AddressBook;
  readonly ports: PortAllocator;
  readonly bridges: Bridges;
  readonly names: InstanceNames;
  readonly dhcp: DhcpLeases;
  readonly catalog: Catalog;
}

/** Networks by name, with their bridges up when they are needed. */
export interface Catalog {
  resolve(nameOrId: string): NetworkRecord;
  /** False once the network is being removed. */
  canBeJoined(networkId: string): boolean;
  /** The network as it is now, its bridge up: the engine may have had to choose another subnet. */
  ensureUp(ctx: OpContext, network: NetworkRecord): Promise<NetworkRecord>;
}

/** Sandboxes with an endpoint on the network. */
export function sandboxesOn(records: NetworkRecords, networkId: string): readonly StoredSandbox[] {
  return records.sandboxes
    .list()
    .filter((sandbox) => sandbox.endpoints.some((endpoint) => endpoint.networkId === networkId));
}

/** Publishes a network event with Docker's attributes. */
export function announce(
  events: EventBus,
  action: "create" | "destroy" | "connect" | "disconnect",
  network: NetworkRecord,
  instanceId?: string,
): void {
  const attributes: Record<string, string> = { name: network.spec.name, type: network.spec.driver };
  if (instanceId !== undefined) attributes["container"] = instanceId;
  events.publish({ type: "network", action, actorId: network.id, attributes });
}
