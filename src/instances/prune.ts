import { isBerthError, messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import { measureInstances } from "./disk-usage.ts";
import { instanceErrors } from "./errors.ts";
import type { Filters } from "./instance-service.ts";
import type { Parts } from "./parts.ts";
import { removeInstance } from "./remove.ts";
import { isActive } from "./resolve.ts";
import { invalid } from "./validate/invalid.ts";

export interface PruneResult {
  readonly deleted: readonly string[];
  readonly reclaimedBytes: number;
}

/** Removes every stopped instance that the filters ("until", "label", "label!") let through. */
export async function pruneInstances(parts: Parts, ctx: OpContext, filters: Filters): Promise<PruneResult> {
  const passes = pruneFilter(filters, parts.clock.now());
  const deleted: string[] = [];
  let reclaimedBytes = 0;
  for (const record of parts.records.all()) {
    ctx.signal.throwIfAborted();
    if (record.spec.internal || isActive(record) || record.state.status === "removing" || !passes(record)) continue;
    try {
      const bytes = (await measureInstances(parts, ctx, [record])).get(record.id) ?? 0;
      await removeInstance(parts, ctx, record.id, { force: false, volumes: false });
      deleted.push(record.id);
      reclaimedBytes += bytes;
    } catch (error) {
      // Started or removed by someone else meanwhile: not ours to take. Others go on.
      if (!isBerthError(error)) throw error;
      ctx.log.warn({ instance: record.id, error: messageOf(error) }, "could not be pruned");
    }
  }
  parts.events.publish({
    type: "container",
    action: "prune",
    actorId: "",
    attributes: { reclaimed: String(reclaimedBytes) },
  });
  return { deleted, reclaimedBytes };
}

/** Throws `FILTER_INVALID` for one that `docker container prune` does not know. */
function pruneFilter(filters: Filters, nowMs: number): (record: InstanceRecord) => boolean {
  for (const name of Object.keys(filters)) {
    if (name !== "until" && name !== "label" && name !== "label!") throw instanceErrors.FILTER_INVALID({ name });
  }
  const until = untilMs(filters["until"] ?? [], nowMs);
  const wanted = filters["label"] ?? [];
  const unwanted = filters["label!"] ?? [];
  return ({ createdAt, spec }) =>
    (until === undefined || Date.parse(createdAt) <= until) &&
    wanted.every((label) => hasLabel(spec.labels, label)) &&
    !unwanted.some((label) => hasLabel(spec.labels, label));
}

function hasLabel(labels: Readonly<Record<string, string>>, filter: string): boolean {
  const equals = filter.indexOf("=");
  if (equals < 0) return filter in labels;
  return labels[filter.slice(0, equals)] === filter.slice(equals + 1);
}

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, ns: 1e-6 };

/** A time ("2026-01-02T15:04:05Z", seconds since the epoch) or an age ("24h", "1h30m"). */
function untilMs(values: readonly string[], nowMs: number): number | undefined {
  const [value, more] = values;
  if (value === undefined) return undefined;
  if (more !== undefined) throw invalid("more than one until filter specified");
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value) * 1000;
  if (/^(\d+(\.\d+)?(h|ms|m|s|us|ns))+$/.test(value)) {
    const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|ns)/g)];
    return nowMs - parts.reduce((sum, [, number, unit = "s"]) => sum + Number(number) * (unitMs[unit] ?? 0), 0);
  }
  const time = Date.parse(value);
  if (Number.isNaN(time))
    throw invalid(`invalid value for "until" filter: failed to parse value as time or duration: "${value}"`);
  return time;
}
