/** "1.5GB", decimal, with the precision docker uses for image sizes (go-units HumanSizeWithPrecision 3). */
export function decimalSize(bytes: number): string {
  return scaled(bytes, 1000, ["B", "kB", "MB", "GB", "TB", "PB"], 3);
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

/** "5 minutes", "About an hour", "2 weeks" (go-units HumanDuration). */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
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
