/**
 * Start-up: the host is made to agree with the records. What runs is not disturbed: rules are replaced in one transaction,
 * published ports are compared and only the differences applied, servers that answer are kept.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { EngineParts } from "./engine-parts.ts";
import { rejoinBridges } from "./mending.ts";
import type { NetworkCatalog } from "./network-catalog.ts";
import type { PortLeases } from "./port-leases.ts";
import { syncPublishedPorts } from "./published-ports.ts";
import type { Sandboxes } from "./sandboxes.ts";

/** `liveIds`: instances that run. Everything of others is taken away. */
export async function recoverNetworks(
  ctx: OpContext,
  engine: EngineParts & {
    readonly networkCatalog: NetworkCatalog;
    readonly sandboxes: Sandboxes;
    readonly leases: PortLeases;
  },
  liveIds: ReadonlySet<string>,
): Promise<void> {
  const { records, bridges, names, dhcp, sandboxes, networkCatalog, paths, host } = engine;
  await networkCatalog.recoverJournal(ctx);
  for (const sandbox of records.sandboxes.list()) {
    const { instanceId } = sandbox;
    if (!liveIds.has(instanceId)) await attempt(ctx, instanceId, () => sandboxes.tearDown(ctx, instanceId));
  }
  await networkCatalog.ensureBuiltins();

  const live = records.sandboxes.list().filter(({ instanceId }) => liveIds.has(instanceId));
  const used = new Set(live.flatMap((sandbox) => sandbox.endpoints.map(({ networkId }) => networkId)));
  const toRaise = records.networks.list().filter((network) => used.has(network.id) && network.bridge !== "");
  if (toRaise.length > 0) await bridges.raise(ctx, toRaise);
  await rejoinBridges(ctx, engine, live);
  for (const sandbox of live) await attempt(ctx, sandbox.instanceId, () => sandboxes.adopt(ctx, sandbox));
  for (const network of records.networks.list()) {
    const present = live.filter(({ endpoints }) => endpoints.some(({ networkId }) => networkId === network.id));
    await names.retain(network.id, new Set(present.map(({ instanceId }) => instanceId)));
    const asking = present.filter(({ request }) => request.dhcp === true);
    await dhcp.retain(network.id, new Set(asking.map(({ instanceId }) => instanceId)));
  }
  if (toRaise.length > 0) await syncPublishedPorts(ctx, engine);
  engine.leases.reconcile(live.flatMap(({ ports, netnsPath }) => ports.map((port) => ({ port, netnsPath }))));
  const strays = (await listOrEmpty(paths.namespaces)).filter((id) => records.sandboxes.get(id) === undefined);
  await host.kernel.apply(
    ctx,
    strays.map((id) => ({ op: "netns-remove", path: join(paths.namespaces, id) })),
  );
}

/** One instance that can't be mended must not keep the engine from the others: its record stays for the next start. */
async function attempt(ctx: OpContext, instanceId: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    ctx.log.error({ instanceId, error: messageOf(error) }, "cannot recover an instance's network");
  }
}

async function listOrEmpty(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
