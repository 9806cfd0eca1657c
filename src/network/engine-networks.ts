/** The network room put together: the {@link NetworkService} of an engine on this host. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Logger } from "../base/logger.ts";
import type { OpContext } from "../base/op-context.ts";
import { rm } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import type { EventBus } from "../state/events.ts";
import type { Store } from "../state/store.ts";
import { AddressBook, checkAddresses } from "./address-book.ts";
import { type BindTest, bindTest } from "./bind-test.ts";
import { Bridges } from "./bridges.ts";
import { DhcpLeases } from "./dhcp-leases.ts";
import { DnsServers } from "./dns-servers.ts";
import { type EngineParts, sandboxesOn } from "./engine-parts.ts";
import { type HostRoute, readHostRoutes } from "./host-routes.ts";
import { InstanceNames } from "./instance-names.ts";
import { Mending } from "./mending.ts";
import { NetworkCatalog } from "./network-catalog.ts";
import type { NetworkConfig } from "./network-definition.ts";
import { NetworkPaths } from "./network-paths.ts";
import { recoverNetworks } from "./network-recovery.ts";
import type { NetworkService } from "./network-service.ts";
import { openNetworkRecords } from "./network-store.ts";
import { PortLeases } from "./port-leases.ts";
import { PortAllocator, type PortRange } from "./ports.ts";
import { recordOf, Sandboxes } from "./sandboxes.ts";

export interface NetworkServiceOptions {
  readonly store: Store;
  readonly host: Host;
  readonly events: EventBus;
  readonly config: NetworkConfig;
  /** The engine's: 6 hexadecimal digits, part of every name on the host. */
  readonly tag: string;
  /** Should be open to all (0711) on its whole path, for the DNS servers to give up root. */
  readonly runRoot: string;
  readonly log: Logger;
  /** Shared by all engines of the host, so that no two publish the same port. */
  readonly portLeases?: string;
  readonly bindTest?: BindTest;
  /** What subnets that the engine chooses must stay clear of. */
  readonly hostRoutes?: () => Promise<readonly HostRoute[]>;
}

/** What the composition root needs beyond {@link NetworkService}. */
export interface EngineNetworks extends NetworkService {
  /**
   * When no instance is on a network: takes bridges, the table and DNS servers off the host and keeps the networks' records.
   * Otherwise leaves everything running for the next engine. Call before {@link EngineNetworks.close}.
   */
  idleTearDown(ctx: OpContext): Promise<void>;
  /** Takes everything of this engine off the host, instances' namespaces included. The records of networks stay. */
  removeAll(ctx: OpContext): Promise<void>;
  /** Lets go of what runs on: stops watching the DNS servers. */
  close(): void;
}

/** Nothing is done to the host until {@link NetworkService.recover}, which must come first. */
export function createNetworkService(options: NetworkServiceOptions): EngineNetworks {
  const { store, host, events, config, tag, log } = options;
  const paths = new NetworkPaths(options.runRoot);
  const records = openNetworkRecords(store);
  const addresses = new AddressBook();
  const servers = new DnsServers({ processes: host.processes, log });
  const names = new InstanceNames({ servers, paths, engineDns: config.dns });
  const dhcp = new DhcpLeases({ servers, paths });
  const bridges = new Bridges({ host, tag, paths });
  const leases = new PortLeases(options.portLeases ?? "/run/berth-ports", tag);
  const ports = new PortAllocator({ leases, bindTest: options.bindTest ?? bindTest, ephemeral: ephemeralPorts });
  const base = { store, host, events, config, tag, paths, records, addresses, names, dhcp, bridges };
  const networkCatalog = new NetworkCatalog({ ...base, hostRoutes: options.hostRoutes ?? readHostRoutes });
  const parts: EngineParts = { ...base, ports, catalog: networkCatalog };
  const sandboxes = new Sandboxes(parts);
  const mending = new Mending({ ...parts, sandboxes });

  const lowerEverything = async (ctx: OpContext): Promise<void> => {
    for (const network of networkCatalog.list()) {
      await names.endServer(network.id);
      await dhcp.endServer(network.id);
    }
    await bridges.lowerAll(
      ctx,
      networkCatalog.list().filter((network) => network.bridge !== ""),
    );
    leases.reconcile([]);
    for (const directory of [paths.networks, paths.namespaces, paths.sandboxes]) {
      await rm(directory, { recursive: true, force: true });
    }
  };

  return {
    recover: async (ctx, live) => {
      const liveIds = new Set(live.map(({ instanceId }) => instanceId));
      await recoverNetworks(ctx, { ...parts, networkCatalog, sandboxes, leases }, liveIds);
      // What a killed engine left of its bridges, with nothing on them. Every bridge that was up has a directory there.
      if (records.sandboxes.list().length === 0 && existsSync(paths.networks)) await lowerEverything(ctx);
    },
    create: async (ctx, spec) => ({ network: await networkCatalog.create(ctx, spec), warnings: [] }),
    resolve: (nameOrId) => networkCatalog.resolve(nameOrId),
    list: () => networkCatalog.list(),
    checkEndpoint: (network, endpoint) => checkAddresses(networkCatalog.resolve(network), endpoint),
    remove: (ctx, nameOrId) => networkCatalog.remove(ctx, nameOrId),
    prune: (ctx, filters) => networkCatalog.prune(ctx, filters),
    endpointsOf: (networkId) =>
      sandboxesOn(records, networkId).flatMap(({ instanceId, instanceName, endpoints }) =>
        endpoints
          .filter((endpoint) => endpoint.networkId === networkId)
          .map((endpoint) => ({ instanceId, instanceName, endpoint })),
      ),
    setUp: (ctx, request) => mending.run(ctx, () => sandboxes.setUp(ctx, request)),
    tearDown: (ctx, instanceId) => sandboxes.tearDown(ctx, instanceId),
    connect: (ctx, instanceId, network, endpoint) =>
      mending.run(ctx, () => sandboxes.connect(ctx, instanceId, network, endpoint)),
    disconnect: (ctx, instanceId, network) => sandboxes.disconnect(ctx, instanceId, network),
    relink: (ctx, instanceId, network, links) => sandboxes.relink(ctx, instanceId, network, links),
    publish: (ctx, instanceId, specs) => mending.run(ctx, () => sandboxes.publish(ctx, instanceId, specs)),
    unpublish: (ctx, instanceId, change) => mending.run(ctx, () => sandboxes.unpublish(ctx, instanceId, change)),
    portsAskedFor: (instanceId) => records.sandboxes.get(instanceId)?.request.ports ?? [],
    leave: (ctx, instanceId, network) => sandboxes.leave(ctx, instanceId, network),
    rename: (ctx, instanceId, newName) => sandboxes.rename(ctx, instanceId, newName),
    sandbox: (instanceId) => {
      const sandbox = records.sandboxes.get(instanceId);
      return sandbox === undefined ? undefined : recordOf(sandbox);
    },
    idleTearDown: async (ctx) => {
      if (records.sandboxes.list().length === 0) await lowerEverything(ctx);
    },
    removeAll: async (ctx) => {
      for (const { instanceId } of records.sandboxes.list()) await sandboxes.tearDown(ctx, instanceId);
      await lowerEverything(ctx);
    },
    close: () => servers.close(),
  };
}

/** The kernel's own range for ports that nobody chose. */
async function ephemeralPorts(): Promise<PortRange> {
  const text = await readFile("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
  const [first = 32768, last = 60999] = text.trim().split(/\s+/).map(Number);
  return { first, last };
}
