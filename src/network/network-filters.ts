/** Filters of `network prune`: until, label, label!. Pure but for the clock. */
import type { NetworkRecord } from "../schema/network.ts";
import { networkErrors } from "./errors.ts";

export type NetworkFilters = Readonly<Record<string, readonly string[]>>;

/** A test that a network passes when it passes every filter. `NETWORK_FILTER_INVALID`. */
export function networkTest(filters: NetworkFilters, now = Date.now()): (network: NetworkRecord) => boolean {
  const tests = Object.entries(filters).map(([filter, values]) => filterTest(filter, values, now));
  return (network) => tests.every((test) => test(network));
}

function filterTest(filter: string, values: readonly string[], now: number): (network: NetworkRecord) => boolean {
  switch (filter) {
    case "label":
      return ({ spec }) => values.every((value) => hasLabel(spec.labels, value));
    case "label!":
      return ({ spec }) => values.every((value) => !hasLabel(spec.labels, value));
    case "until": {
      const limit = Math.min(...values.map((value) => untilTime(value, now)));
      return ({ createdAt }) => Date.parse(createdAt) < limit;
    }
    default:
      throw networkErrors.NETWORK_FILTER_INVALID({ filter });
  }
}

function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const cut = wanted.indexOf("=");
  return cut === -1 ? wanted in labels : labels[wanted.slice(0, cut)] === wanted.slice(cut + 1);
}

/** A Unix time in seconds, an RFC 3339 date, or a Go duration before `now` ("24h", "1h30m"). Milliseconds. */
function untilTime(value: string, now: number): number {
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value) * 1000;
  if (/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(value)) return now - durationMs(value);
  const date = Date.parse(value);
  if (Number.isNaN(date)) throw networkErrors.NETWORK_FILTER_INVALID({ filter: `until=${value}` });
  return date;
}

function durationMs(value: string): number {
  const unit: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  return [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce(
    (sum, [, amount, name = ""]) => sum + Number(amount) * (unit[name] ?? 0),
    0,
  );
}
