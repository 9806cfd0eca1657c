import { apiErrors } from "../errors.ts";

/** What Docker's JSON shows for "never". */
export const zeroTime = "0001-01-01T00:00:00Z";

/** Docker's form of a time of ours, where "" is never. */
export function dockerTime(iso: string): string {
  return iso === "" ? zeroTime : iso;
}

/** Whole seconds since the epoch; 0 for never. */
export function unixSeconds(iso: string): number {
  const ms = Date.parse(iso);
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000);
}

/** "1700000000.123456789" (a fraction is optional) in nanoseconds; undefined for "". */
export function parseUnixNano(name: string, value: string): bigint | undefined {
  if (value === "") return undefined;
  const match = /^(-?\d+)(?:\.(\d{1,9})\d*)?$/.exec(value);
  if (match === null) {
    throw apiErrors.API_BAD_REQUEST({
      message: `invalid value for "${name}": failed to parse value as time or duration: ${JSON.stringify(value)}`,
    });
  }
  const [, seconds = "0", fraction = ""] = match;
  return BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
}

/** The same, in milliseconds, for the rooms that count in those. */
export function parseUnixMs(name: string, value: string): number | undefined {
  const nano = parseUnixNano(name, value);
  return nano === undefined ? undefined : Number(nano / 1_000_000n);
}

/** A filter's moment: a Unix time, an RFC 3339 time, or how long ago ("10m", "24h"). Milliseconds since the epoch. */
export function parseUntil(name: string, value: string, now: number): number {
  const unix = /^\d+(\.\d+)?$/.test(value) ? Number(value) * 1000 : undefined;
  const time = unix ?? ago(value, now) ?? Date.parse(value);
  if (Number.isNaN(time)) {
    throw apiErrors.API_BAD_REQUEST({
      message: `invalid value for "${name}": failed to parse value as time or duration: ${JSON.stringify(value)}`,
    });
  }
  return time;
}

/** Go's durations: "1h30m", "10s", "1.5h". */
function ago(value: string, now: number): number | undefined {
  if (!/^(\d+(\.\d+)?(h|m|s|ms))+$/.test(value)) return undefined;
  const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  let total = 0;
  for (const [, amount = "0", unit = "s"] of value.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)) {
    total += Number(amount) * (unitMs[unit] ?? 0);
  }
  return now - total;
}
