/** "1.5GB", decimal, with the digits docker shows of images' sizes: 3 (go-units' HumanSize has 4). */
export function decimalSize(bytes: number, digits = 3): string {
  return scaled(bytes, 1000, ["B", "kB", "MB", "GB", "TB", "PB"], digits);
}

/** "512MiB", binary, four digits, as `docker stats` writes memory. */
export function binarySize(bytes: number): string {
  return scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4);
}

function scaled(bytes: number, base: number, units: readonly string[], digits: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${Number(value.toPrecision(digits))}${units[unit]}`;
}

/** As Go prints a time, which docker's `{{.CreatedAt}}` shows: "2026-01-31 10:00:00 +0000 UTC". */
export function goTime(ms: number): string {
  const minutes = -new Date(ms).getTimezoneOffset();
  const [date = "", time = ""] = new Date(ms + minutes * 60_000).toISOString().split(/[T.]/);
  const two = (value: number) => String(Math.trunc(value)).padStart(2, "0");
  const offset = `${minutes < 0 ? "-" : "+"}${two(Math.abs(minutes) / 60)}${two(Math.abs(minutes) % 60)}`;
  return `${date} ${time} ${offset} ${minutes === 0 ? "UTC" : offset}`;
}

const sizeUnits: Readonly<Record<string, number>> = { "": 0, b: 0, k: 1, m: 2, g: 3, t: 4, p: 5 };

/** "512m", "1.5GiB", "64" -> bytes; undefined when it is not a size (go-units RAMInBytes). */
export function parseSize(text: string): number | undefined {
  const match = /^(-?\d+(?:\.\d+)?) ?([bkmgtp]?)(?:i?b)?$/i.exec(text.trim());
  const power = sizeUnits[match?.[2]?.toLowerCase() ?? "?"];
  return match === null || power === undefined ? undefined : Math.trunc(Number(match[1]) * 1024 ** power);
}

/** "1m30s", "500ms", "10" (nanoseconds) -> nanoseconds; undefined when it is not a duration (Go's time.ParseDuration). */
export function parseDuration(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text);
  const factors: Readonly<Record<string, number>> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g))
    total += Number(amount) * (factors[unit ?? ""] ?? 0);
  return Math.round(total);
}
