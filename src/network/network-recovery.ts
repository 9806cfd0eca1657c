/**
 * Start-up: the host is made to agree with the records. What runs is not disturbed: rules are replaced in one transaction,
 * published ports are compared and only the differences applied, servers that answer are kept.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { NftElement } from "../host/kernel-ops.ts";
import type { EngineParts } from "./engine-parts.ts";
import { type PortMap, portElements, portMaps, tableName } from "./firewall.ts";
import type { NetworkCatalog } from "./network-catalog.ts";
import type { PortLeases } from "./port-leases.ts";
import { portTargetOf } from "./sandbox-plan.ts";
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
  const { records, bridges, names, sandboxes, networkCatalog, paths, host } = engine;
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
  for (const sandbox of live) await attempt(ctx, sandbox.instanceId, () => sandboxes.adopt(ctx, sandbox));
  for (const network of records.networks.list()) {
    const present = live.filter(({ endpoints }) => endpoints.some(({ networkId }) => networkId === network.id));
    await names.retain(network.id, new Set(present.map(({ instanceId }) => instanceId)));
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

async function syncPublishedPorts(
  ctx: OpContext,
  engine: EngineParts & { readonly sandboxes: Sandboxes },
): Promise<void> {
  const wanted: Record<PortMap, NftElement[]> = { dnat4: [], dnat4_any: [], dnat6: [], dnat6_any: [] };
  for (const sandbox of engine.records.sandboxes.list()) {
    const gateway = engine.sandboxes.gatewayOf(sandbox);
    if (gateway === undefined) continue;
    const elements = portElements(sandbox.ports, portTargetOf(gateway));
    for (const map of portMapNames) wanted[map].push(...elements[map]);
  }
  const table = tableName(engine.tag);
  for (const map of portMapNames) {
    const listing = await engine.host.processes.run(ctx, {
      argv: ["nft", "-j", "-n", "list", "map", "inet", table, map],
    });
    if (listing.code !== 0) throw new Error(`nft list map ${map}: ${listing.stderr.trim()}`);
    const { stale, missing } = compareElements(parseMapElements(listing.stdout), wanted[map]);
    if (stale.length > 0 || missing.length > 0)
      ctx.log.info({ map, stale: stale.length, missing: missing.length }, "published ports mended");
    await engine.host.kernel.apply(ctx, [
      ...(stale.length > 0 ? [{ op: "nft-delete-elements", table, set: map, elements: stale } as const] : []),
      ...(missing.length > 0 ? [{ op: "nft-add-elements", table, set: map, elements: missing } as const] : []),
    ]);
  }
}

const portMapNames = Object.keys(portMaps) as readonly PortMap[];

/** What is there and should not be (or leads elsewhere), and what is not there and should be. Pure. */
export function compareElements(
  actual: readonly NftElement[],
  wanted: readonly NftElement[],
): { readonly stale: readonly NftElement[]; readonly missing: readonly NftElement[] } {
  const textOf = ({ key, value }: NftElement): string => `${key} : ${value ?? ""}`;
  const [is, should] = [new Set(actual.map(textOf)), new Set(wanted.map(textOf))];
  return {
    stale: actual.filter((element) => !should.has(textOf(element))),
    missing: wanted.filter((element) => !is.has(textOf(element))),
  };
}

/** Elements of `nft -j -n list map`, in the text form of {@link NftElement}. Protocols come as numbers. Pure. */
export function parseMapElements(json: string): readonly NftElement[] {
  const parsed: { readonly nftables: readonly NftItem[] } = JSON.parse(json);
  return parsed.nftables.flatMap(({ map }) =>
    (map?.elem ?? []).map(([key, value]) => ({ key: concatText(key), value: concatText(value) })),
  );
}

interface NftItem {
  readonly map?: { readonly elem?: readonly (readonly [NftConcat, NftConcat])[] };
}

interface NftConcat {
  readonly concat: readonly (string | number)[];
}

const protocolNames: Readonly<Record<string, string>> = { "6": "tcp", "17": "udp", "132": "sctp" };

function concatText({ concat }: NftConcat): string {
  // The port is always last and a number too: only what stands before another part can be a protocol.
  return concat
    .map((part, i) => (i < concat.length - 1 ? (protocolNames[String(part)] ?? String(part)) : String(part)))
    .join(" . ");
}

async function listOrEmpty(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
