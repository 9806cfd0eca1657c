/** The networks themselves: made, found, removed, pruned; their bridges up when they are needed. */
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import { rm } from "../host/files.ts";
import type { NetworkRecord, NetworkSpec } from "../schema/network.ts";
import { defineBridged, isBridged, requireParent } from "./bridged.ts";
import { announce, type EngineParts, sandboxesOn } from "./engine-parts.ts";
import { networkErrors } from "./errors.ts";
import type { HostRoute } from "./host-routes.ts";
import { overlaps, parseCidr } from "./ip-address.ts";
import {
  builtinNames,
  defineBuiltin,
  defineDefaultBridge,
  defineNetwork,
  requireNewName,
  type Surroundings,
  withAnotherSubnet,
} from "./network-definition.ts";
import { networkTest, type NetworkFilters } from "./network-filters.ts";
import { dirname } from "node:path";

type CatalogParts = Omit<EngineParts, "catalog" | "ports"> & {
  readonly hostRoutes: () => Promise<readonly HostRoute[]>;
};

export class NetworkCatalog {
  readonly #parts: CatalogParts;
  readonly #locks = new KeyedMutex();
  /** Networks that are on their way out: their records stay until nothing of them is left. */
  readonly #leaving = new Set<string>();

  constructor(parts: CatalogParts) {
    this.#parts = parts;
  }

  /** Makes sure of "bridge", "host" and "none", as the configuration has them now. */
  async ensureBuiltins(): Promise<void> {
    const { records, store, config, addresses } = this.#parts;
    const [bridge, host, none] = builtinNames.map((name) => this.#byName(name));
    const around = await this.#surroundings();
    const inUse = bridge !== undefined && sandboxesOn(records, bridge.id).length > 0;
    const wanted = bridge !== undefined && inUse ? bridge : defineDefaultBridge(bridge, config, around);
    store.transaction(() => {
      records.networks.put(wanted.id, wanted);
      for (const missing of [
        ...(host === undefined ? [defineBuiltin("host")] : []),
        ...(none === undefined ? [defineBuiltin("none")] : []),
      ]) {
        records.networks.put(missing.id, missing);
      }
    });
    addresses.forget(wanted.id);
  }

  async create(ctx: OpContext, spec: NetworkSpec): Promise<NetworkRecord> {
    const { records, store, config, bridges, events } = this.#parts;
    // One at a time: two must not choose the same subnet.
    using _held = await this.#locks.acquire("create");
    if (spec.driver === "bridged") requireNewName(spec.name, this.list());
    const network =
      spec.driver === "bridged"
        ? await defineBridged(spec, this.#parts.host, this.list())
        : defineNetwork(spec, config, await this.#surroundings());
    const entry = store.journal.begin("network.create", network.id, {});
    await using reverter = new Reverter(ctx);
    reverter.add("journal", () => entry.end());
    store.transaction(() => records.networks.put(network.id, network), { durable: false });
    reverter.add("record", () => records.networks.delete(network.id));
    reverter.add("bridge and run directory", (ctx) => this.#takeAway(ctx, network));
    if (!isBridged(network)) await bridges.raise(ctx, [network]);
    store.transaction(() => entry.end());
    reverter.commit();
    announce(events, "create", network);
    return network;
  }

  /** By name, then by id, then by an unambiguous prefix of it. */
  resolve(nameOrId: string): NetworkRecord {
    const { networks } = this.#parts.records;
    const exact = this.#byName(nameOrId === "default" ? "bridge" : nameOrId) ?? networks.get(nameOrId);
    if (exact !== undefined) return exact;
    const matches = /^[0-9a-f]+$/.test(nameOrId) ? networks.list().filter((n) => n.id.startsWith(nameOrId)) : [];
    const [match] = matches;
    if (match === undefined) throw networkErrors.NETWORK_NOT_FOUND({ name: nameOrId });
    if (matches.length > 1) throw networkErrors.NETWORK_AMBIGUOUS({ name: nameOrId, matches: matches.length });
    return match;
  }

  canBeJoined(networkId: string): boolean {
    return this.#parts.records.networks.get(networkId) !== undefined && !this.#leaving.has(networkId);
  }

  list(): readonly NetworkRecord[] {
    return this.#parts.records.networks.list();
  }

  async remove(ctx: OpContext, nameOrId: string): Promise<NetworkRecord> {
    const found = this.resolve(nameOrId);
    if (found.builtin) throw networkErrors.NETWORK_BUILTIN({ name: found.spec.name });
    using _held = await this.#locks.acquire(found.id);
    const network = this.#parts.records.networks.get(found.id);
    if (network === undefined) throw networkErrors.NETWORK_NOT_FOUND({ name: nameOrId });
    const users = sandboxesOn(this.#parts.records, network.id);
    if (users.length > 0) {
      const endpoints = users.map(({ instanceName, endpoints: all }) => ({
        name: instanceName,
        id: all.find((endpoint) => endpoint.networkId === network.id)?.id ?? "",
      }));
      throw networkErrors.NETWORK_IN_USE({ name: network.spec.name, endpoints });
    }
    await this.#remove(ctx, network);
    announce(this.#parts.events, "destroy", network);
    return network;
  }

  /** Names of the removed ones: those without endpoints that match. */
  async prune(ctx: OpContext, filters: NetworkFilters): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const network of this.list().filter(networkTest(filters))) {
      const used = sandboxesOn(this.#parts.records, network.id).length > 0;
      if (network.builtin || used) continue;
      await this.remove(ctx, network.id);
      removed.push(network.spec.name);
    }
    const attributes = { reclaimed: "0" };
    this.#parts.events.publish({ type: "network", action: "prune", actorId: "", attributes });
    return removed;
  }

  async ensureUp(ctx: OpContext, network: NetworkRecord): Promise<NetworkRecord> {
    const { bridges, records, host } = this.#parts;
    if (isBridged(network)) return await requireParent(network, host);
    if (bridges.isUp(network.id)) return records.networks.get(network.id) ?? network;
    using _held = await this.#locks.acquire(network.id);
    const current = records.networks.get(network.id);
    if (current === undefined) throw networkErrors.NETWORK_NOT_FOUND({ name: network.spec.name });
    if (bridges.isUp(network.id)) return current;
    const clear = await this.#clearOfHost(ctx, current);
    await bridges.raise(ctx, [clear]);
    return clear;
  }

  /** Finishes what a killed engine was doing: a network that was not acknowledged goes, one that was to go as well. */
  async recoverJournal(ctx: OpContext): Promise<void> {
    for (const entry of this.#parts.store.journal.open()) {
      if (entry.kind !== "network.create" && entry.kind !== "network.remove") continue;
      const network = this.#parts.records.networks.get(entry.subject);
      if (network !== undefined) await this.#takeAway(ctx, network);
      this.#parts.store.transaction(() => {
        this.#parts.records.networks.delete(entry.subject);
        entry.end();
      });
    }
  }

  async #remove(ctx: OpContext, network: NetworkRecord): Promise<void> {
    const { store, records } = this.#parts;
    this.#leaving.add(network.id);
    try {
      const entry = store.journal.begin("network.remove", network.id, {});
      await using reverter = new Reverter(ctx);
      // It stays, and is raised again by its next use: the next start must not take it from those who use it then.
      reverter.add("journal", () => entry.end());
      await this.#takeAway(ctx, network);
      store.transaction(() => {
        records.networks.delete(network.id);
        entry.end();
      });
      reverter.commit();
    } finally {
      this.#leaving.delete(network.id);
    }
  }

  async #takeAway(ctx: OpContext, network: NetworkRecord): Promise<void> {
    const { bridges, names, dhcp, addresses, paths } = this.#parts;
    await names.endServer(network.id);
    await dhcp.endServer(network.id);
    if (!isBridged(network)) await bridges.lower(ctx, network);
    addresses.forget(network.id);
    await rm(dirname(paths.bridgeMark(network.id)), { recursive: true, force: true });
  }

  /** A subnet that the engine chose long ago may have been taken while the bridge was down, by another engine for one. */
  async #clearOfHost(ctx: OpContext, network: NetworkRecord): Promise<NetworkRecord> {
    const { records, store, config, addresses } = this.#parts;
    if (network.autoSubnet !== true || sandboxesOn(records, network.id).length > 0) return network;
    const around = await this.#surroundings();
    const foreign = around.hostRoutes.find(
      (route) =>
        route.device !== network.bridge &&
        network.spec.ipam.some((pool) => {
          const subnet = parseCidr(pool.subnet);
          return subnet !== undefined && overlaps(subnet, route);
        }),
    );
    if (foreign === undefined) return network;
    const moved = withAnotherSubnet(network, config, around);
    ctx.log.warn(
      { network: network.spec.name, device: foreign.device, subnet: moved.spec.ipam[0]?.subnet },
      "the host uses the network's subnet now: it moves",
    );
    store.transaction(() => records.networks.put(moved.id, moved));
    addresses.forget(moved.id);
    return moved;
  }

  #byName(name: string): NetworkRecord | undefined {
    return this.list().find((network) => network.spec.name === name);
  }

  async #surroundings(): Promise<Omit<Surroundings, "hostRoutes"> & { readonly hostRoutes: readonly HostRoute[] }> {
    const { host, tag, hostRoutes } = this.#parts;
    return { networks: this.list(), hostRoutes: await hostRoutes(), uplinkMtu: host.facts.uplinkMtu(), tag };
  }
}
