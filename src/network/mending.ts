/**
 * What others take from under a running engine: a bridge deleted by hand, the table gone with `nft flush ruleset` (a restart of
 * the host's nftables service). The first operation that misses something has everything mended, for all instances, and is done again.
 */
import { isBerthError, messageOf } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import type { EngineParts } from "./engine-parts.ts";
import { requireTable } from "./firewall.ts";
import type { StoredSandbox } from "./network-store.ts";
import { syncPublishedPorts } from "./published-ports.ts";
import type { Sandboxes } from "./sandboxes.ts";

type MendedParts = EngineParts & { readonly sandboxes: Sandboxes };

export class Mending {
  readonly #engine: MendedParts;
  readonly #lock = new KeyedMutex();
  #times = 0;

  constructor(engine: MendedParts) {
    this.#engine = engine;
  }

  /** Does `work`, which undoes what it did when it fails; once more when it failed for what could be mended. */
  async run<T>(ctx: OpContext, work: () => Promise<T>): Promise<T> {
    const before = this.#times;
    try {
      return await work();
    } catch (error) {
      if (!isBerthError(error, "KERNEL_OP_FAILED") || !(await this.#mendedSince(ctx, before))) throw error;
      ctx.log.warn({ error: messageOf(error) }, "bridges or rules were gone; they are back");
    }
    return await work();
  }

  async #mendedSince(ctx: OpContext, before: number): Promise<boolean> {
    using _held = await this.#lock.acquire("");
    if (this.#times > before) return true;
    const { records, bridges } = this.#engine;
    const raised = records.networks.list().filter((network) => network.bridge !== "" && bridges.isUp(network.id));
    if (
      raised.length === 0 ||
      (await this.#isWhole(
        ctx,
        raised.map(({ bridge }) => bridge),
      ))
    )
      return false;
    await bridges.raise(ctx, raised);
    await rejoinBridges(ctx, this.#engine, records.sandboxes.list());
    await syncPublishedPorts(ctx, this.#engine);
    this.#times++;
    return true;
  }

  async #isWhole(ctx: OpContext, bridges: readonly string[]): Promise<boolean> {
    const { host, tag } = this.#engine;
    const links = new Set((await host.kernel.links()).map(({ name }) => name));
    if (!bridges.every((bridge) => links.has(bridge))) return false;
    try {
      await host.kernel.apply(ctx, [requireTable(tag)]);
      return true;
    } catch (error) {
      if (isBerthError(error, "KERNEL_OP_FAILED")) return false;
      throw error;
    }
  }
}

/** Instances' links that are in no bridge any more, since it was made anew, are put back. */
export async function rejoinBridges(
  ctx: OpContext,
  { host, records }: EngineParts,
  sandboxes: readonly StoredSandbox[],
): Promise<void> {
  if (sandboxes.length === 0) return;
  const links = new Map((await host.kernel.links()).map((link) => [link.name, link]));
  const bridges = new Map(records.networks.list().map(({ id, bridge }) => [id, bridge]));
  const ops = sandboxes.flatMap((sandbox) =>
    sandbox.endpoints.flatMap(({ networkId, hostInterface: name }) => {
      const bridge = bridges.get(networkId) ?? "";
      const [link, master] = [links.get(name), links.get(bridge)];
      if (link === undefined || master === undefined || link.master === master.index) return [];
      return [{ op: "bridge-join", name, bridge, hairpin: sandbox.request.ports.length > 0 } as const];
    }),
  );
  if (ops.length > 0) ctx.log.info({ links: ops.length }, "links put back into their bridges");
  await host.kernel.apply(ctx, ops);
}
