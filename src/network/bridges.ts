/**
 * Bridges and the firewall as they are in the kernel now. A bridge is raised with its network's first use and lowered with
 * the network, or when the engine stops with nothing running.
 */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import { mkdir, rm, writeFile } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import type { KernelOp } from "../host/kernel-ops.ts";
import type { NetworkRecord } from "../schema/network.ts";
import { bridgeDown, bridgeUp, gatewayOf } from "./bridge-plan.ts";
import { syncForwardRules } from "./docker-user.ts";
import { firewallRemoval, firewallScript } from "./firewall.ts";
import type { NetworkPaths } from "./network-paths.ts";

export class Bridges {
  readonly #host: Host;
  readonly #tag: string;
  readonly #paths: NetworkPaths;
  readonly #up = new Map<string, NetworkRecord>();
  /** The firewall is one text over all bridges: changes wait for each other. */
  readonly #lock = new KeyedMutex();

  constructor(options: { host: Host; tag: string; paths: NetworkPaths }) {
    this.#host = options.host;
    this.#tag = options.tag;
    this.#paths = options.paths;
  }

  isUp(networkId: string): boolean {
    return this.#up.has(networkId);
  }

  /** Makes or mends these bridges and lets them through the firewall, all in one go. */
  async raise(ctx: OpContext, networks: readonly NetworkRecord[]): Promise<void> {
    using _held = await this.#lock.acquire("firewall");
    await using reverter = new Reverter(ctx);
    const existing = new Set((await this.#host.kernel.links()).map((link) => link.name));
    for (const network of networks) {
      await mkdir(dirname(this.#paths.bridgeMark(network.id)), { recursive: true, mode: 0o711 });
      if (existing.has(network.bridge)) continue;
      await writeFile(this.#paths.bridgeMark(network.id), `${network.bridge}\n`);
      reverter.add(`bridge ${network.bridge}`, (ctx) => this.#removeLink(ctx, network));
    }
    const after = [...this.#up.values(), ...networks];
    await this.#host.kernel.apply(ctx, [...networks.flatMap(bridgeUp), this.#firewall(after)]);
    await this.#syncForward(ctx, after);
    for (const network of networks) this.#up.set(network.id, network);
    reverter.commit();
  }

  /** Takes a bridge and its rules away. Missing is no error; a bridge that the engine found is left. */
  async lower(ctx: OpContext, network: NetworkRecord): Promise<void> {
    using _held = await this.#lock.acquire("firewall");
    this.#up.delete(network.id);
    const rest = [...this.#up.values()];
    await this.#host.kernel.apply(ctx, [this.#firewall(rest)]);
    await this.#syncForward(ctx, rest);
    await this.#removeLink(ctx, network);
  }

  /** Leaves nothing of `networks` on the host: bridges, table, rules beside Docker's. */
  async lowerAll(ctx: OpContext, networks: readonly NetworkRecord[]): Promise<void> {
    using _held = await this.#lock.acquire("firewall");
    this.#up.clear();
    await this.#host.kernel.apply(ctx, [{ op: "nft-script", script: firewallRemoval(this.#tag) }]);
    await this.#syncForward(ctx, []);
    for (const network of networks) await this.#removeLink(ctx, network);
  }

  #firewall(networks: readonly NetworkRecord[]): KernelOp {
    return networks.length === 0
      ? { op: "nft-script", script: firewallRemoval(this.#tag) }
      : { op: "nft-script", script: firewallScript(this.#tag, networks) };
  }

  #syncForward(ctx: OpContext, networks: readonly NetworkRecord[]): Promise<void> {
    return syncForwardRules(ctx, this.#host, this.#tag, {
      ipv4: networks.map((network) => network.bridge),
      ipv6: networks.filter((network) => gatewayOf(network, 6) !== "").map((network) => network.bridge),
    });
  }

  async #removeLink(ctx: OpContext, network: NetworkRecord): Promise<void> {
    const mark = this.#paths.bridgeMark(network.id);
    if (!(await exists(mark))) return;
    await this.#host.kernel.apply(ctx, bridgeDown(network));
    await rm(mark, { force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
