/**
 * The addresses that machines are given by DHCP, and the servers that give them.
 *
 * dnsmasq takes a new file in its directories by itself, but forgets nothing: not what was in a file that is gone, and (2.90) it crashes
 * when it is told to by SIGHUP after it has leased an address whose host has a tag. So a server that would have to forget is ended and
 * started: it has no state of its own, each lease is in the files.
 */
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import { mkdir, rename, rm, writeFile } from "../host/files.ts";
import type { NetworkRecord } from "../schema/network.ts";
import { dhcpServer, dhcpServerId, type LeaseFiles, type LeaseRequest, leaseFiles } from "./dhcp-config.ts";
import type { DnsServers } from "./dns-servers.ts";
import type { NetworkPaths } from "./network-paths.ts";

export class DhcpLeases {
  readonly #servers: DnsServers;
  readonly #paths: NetworkPaths;
  readonly #locks = new KeyedMutex();
  /** By network: what its server has read since it started, by card, address and tag. Missing for one that an earlier engine started. */
  readonly #read = new Map<string, Map<string, string>>();

  constructor(options: { servers: DnsServers; paths: NetworkPaths }) {
    this.#servers = options.servers;
    this.#paths = options.paths;
  }

  /** Makes the instance get its address on this network when it asks. The network's bridge must be up. `DNS_SERVER_FAILED`. */
  async publish(ctx: OpContext, instanceId: string, request: LeaseRequest): Promise<void> {
    const { network } = request.attachment;
    if (network.spec.driver !== "bridge") return;
    using _held = await this.#locks.acquire(network.id);
    const files = leaseFiles(`i${instanceId.slice(0, 12)}`, request);
    const isUp = this.#servers.isUp(dhcpServerId(network.id));
    const isNew = await this.#write(network.id, instanceId, files);
    if (isUp && (!isNew || this.#takes(network.id, files))) return;
    // Nothing new, but not watched by us: an earlier engine's goes on, or is started again.
    if (isNew) await this.#restart(ctx, network);
    else await this.#servers.ensure(ctx, dhcpServer(network, this.#paths));
  }

  /** The server goes on knowing it until it has to forget: nobody else has this card. */
  async withdraw(instanceId: string, networkId: string): Promise<void> {
    using _held = await this.#locks.acquire(networkId);
    await this.#withdraw([instanceId], networkId);
  }

  /** Withdraws the leases of every instance on `networkId` that is not in `keep`. */
  async retain(networkId: string, keep: ReadonlySet<string>): Promise<void> {
    using _held = await this.#locks.acquire(networkId);
    const gone = (await listOrEmpty(this.#paths.leases(networkId))).filter((name) => !keep.has(name));
    if (gone.length > 0) await this.#withdraw(gone, networkId);
  }

  /** The network is gone, or goes down. */
  async endServer(networkId: string): Promise<void> {
    using _held = await this.#locks.acquire(networkId);
    await this.#end(networkId);
  }

  /** Whether the server takes this by itself, or knows it already: nothing that it has read says otherwise. */
  #takes(networkId: string, files: LeaseFiles): boolean {
    const read = this.#read.get(networkId);
    if (read === undefined) return false;
    const text = files.lease + files.options;
    if (files.keys.some((key) => read.has(key) && read.get(key) !== text)) return false;
    for (const key of files.keys) read.set(key, text);
    return true;
  }

  async #restart(ctx: OpContext, network: NetworkRecord): Promise<void> {
    await this.#end(network.id);
    await this.#servers.ensure(ctx, dhcpServer(network, this.#paths));
    const read = new Map<string, string>();
    this.#read.set(network.id, read);
    for (const name of await listOrEmpty(this.#paths.leases(network.id))) {
      const lease = await readOrEmpty(join(this.#paths.leases(network.id), name));
      const options = await readOrEmpty(join(this.#paths.leaseOptions(network.id), name));
      for (const key of lease.trim().split(",")) read.set(key, lease + options);
    }
  }

  async #end(networkId: string): Promise<void> {
    this.#read.delete(networkId);
    await this.#servers.stop(dhcpServerId(networkId), this.#paths.networkDhcp(networkId));
  }

  async #withdraw(instanceIds: readonly string[], networkId: string): Promise<void> {
    for (const instanceId of instanceIds) {
      for (const directory of [this.#paths.leases(networkId), this.#paths.leaseOptions(networkId)]) {
        await rm(join(directory, instanceId), { force: true });
      }
    }
    const left = await listOrEmpty(this.#paths.leases(networkId));
    if (left.length === 0) await this.#end(networkId);
  }

  /** Whether anything in them is new. */
  async #write(networkId: string, instanceId: string, files: LeaseFiles): Promise<boolean> {
    // The options first: the server must not know the machine without them.
    const options = await this.#replace(this.#paths.leaseOptions(networkId), instanceId, files.options);
    const lease = await this.#replace(this.#paths.leases(networkId), instanceId, files.lease);
    return options || lease;
  }

  /** dnsmasq skips names that begin with a dot; it must never see half a file. */
  async #replace(directory: string, instanceId: string, text: string): Promise<boolean> {
    // The network's directory: its servers, which have given up root, must find their way through it.
    await mkdir(dirname(directory), { recursive: true, mode: 0o711 });
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const path = join(directory, instanceId);
    if ((await readOrEmpty(path)) === text) return false;
    const draft = join(directory, `.${instanceId}`);
    await writeFile(draft, text, { mode: 0o644 });
    await rename(draft, path);
    return true;
  }
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  }
}

async function listOrEmpty(directory: string): Promise<readonly string[]> {
  try {
    return (await readdir(directory)).filter((name) => !name.startsWith("."));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
