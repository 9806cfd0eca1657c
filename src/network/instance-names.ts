/** The names under which instances are found on user-defined networks, and the servers that answer them. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { OpContext } from "../base/op-context.ts";
import { mkdir, rename, rm, writeFile } from "../host/files.ts";
import type { NetworkRecord } from "../schema/network.ts";
import { endpointNames, linkNames } from "./dns-config.ts";
import type { DnsServers } from "./dns-servers.ts";
import type { HostsEntry } from "./hosts-file.ts";
import type { NetworkPaths } from "./network-paths.ts";
import { hasNames, networkServer, type ResolverPlan } from "./resolver-plan.ts";
import type { Attachment } from "./sandbox-plan.ts";

export class InstanceNames {
  readonly #servers: DnsServers;
  readonly #paths: NetworkPaths;
  readonly #engineDns: readonly string[];

  constructor(options: { servers: DnsServers; paths: NetworkPaths; engineDns: readonly string[] }) {
    this.#servers = options.servers;
    this.#paths = options.paths;
    this.#engineDns = options.engineDns;
  }

  /** Makes the instance's names on this network be answered, at once (dnsmasq follows the directory by inotify). */
  async publish(ctx: OpContext, instanceId: string, { network, endpoint }: Attachment): Promise<void> {
    if (!hasNames(network)) return;
    await writeNames(this.#paths.names(network.id), instanceId, endpointNames(network, endpoint));
    await this.serve(ctx, network);
  }

  async withdraw(instanceId: string, networkId: string): Promise<void> {
    await rm(join(this.#paths.names(networkId), instanceId), { force: true });
  }

  /** Makes the network's server run. Its bridge must be up. */
  async serve(ctx: OpContext, network: NetworkRecord): Promise<void> {
    if (this.#servers.isUp(network.id)) return;
    await mkdir(this.#paths.names(network.id), { recursive: true, mode: 0o755 });
    await this.#servers.ensure(ctx, networkServer(network, this.#engineDns, this.#paths));
  }

  /** The network is gone, or goes down. */
  async endServer(networkId: string): Promise<void> {
    await this.#servers.stop(networkId, this.#paths.networkDns(networkId));
  }

  /** Starts, keeps or ends the instance's own resolver, which answers the aliases of its `links` too. Its namespace must exist. */
  async serveInstance(
    ctx: OpContext,
    instanceId: string,
    plan: ResolverPlan,
    links: readonly HostsEntry[],
  ): Promise<void> {
    await this.publishLinks(instanceId, plan, links);
    if (plan.kind === "own") await this.#servers.ensure(ctx, plan.server);
    else await this.endInstance(instanceId);
  }

  /** The addresses behind an instance's links have changed. */
  async publishLinks(instanceId: string, plan: ResolverPlan, links: readonly HostsEntry[]): Promise<void> {
    const directory = this.#paths.sandboxLinks(instanceId);
    if (plan.kind !== "own" || !plan.server.hostsDirectories.includes(directory)) return;
    await writeNames(directory, instanceId, linkNames(links));
  }

  async endInstance(instanceId: string): Promise<void> {
    await this.#servers.stop(instanceId, this.#paths.sandboxDns(instanceId));
  }

  /** Withdraws the names of every instance on `networkId` that is not in `keep`. */
  async retain(networkId: string, keep: ReadonlySet<string>): Promise<void> {
    for (const name of await listOrEmpty(this.#paths.names(networkId))) {
      if (!keep.has(name)) await this.withdraw(name, networkId);
    }
  }
}

/** dnsmasq skips names that begin with a dot; it must never see half a file. */
async function writeNames(directory: string, name: string, text: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const draft = join(directory, `.${name}`);
  await writeFile(draft, text, { mode: 0o644 });
  await rename(draft, join(directory, name));
}

async function listOrEmpty(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
