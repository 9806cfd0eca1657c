import { join } from "node:path";
import type { OpContext } from "../base/op-context.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { Parts } from "./parts.ts";

/** Bytes on disk of each instance's writable layer, log and other durable files, by id: in two calls of a worker thread. */
export async function measureInstances(
  parts: Pick<Parts, "snapshotter" | "roots" | "dataRoot">,
  ctx: OpContext,
  records: readonly Pick<InstanceRecord, "id">[],
): Promise<ReadonlyMap<string, number>> {
  const ids = records.map(({ id }) => id);
  if (ids.length === 0) return new Map();
  const roots = await parts.snapshotter.diskUsage(ctx, ids);
  await using files = await parts.roots.open(ctx, join(parts.dataRoot, "instances"));
  const logs = await files.diskUsage(ctx, ids);
  return new Map(ids.map((id, index) => [id, (roots[index] ?? 0) + (logs[index] ?? 0)]));
}
