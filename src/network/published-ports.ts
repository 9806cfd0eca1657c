/** The table's maps of published ports against the records. */
import type { OpContext } from "../base/op-context.ts";
import type { NftElement } from "../host/kernel-ops.ts";
import type { EngineParts } from "./engine-parts.ts";
import { type PortMap, portElements, portMaps, tableName } from "./firewall.ts";
import { portTargetOf } from "./sandbox-plan.ts";
import type { Sandboxes } from "./sandboxes.ts";

/** Makes the maps of published ports be those of the sandboxes: only the differences are applied. */
export async function syncPublishedPorts(
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
