const units: Readonly<Record<string, number>> = { "": 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** What {@link parseSize} takes, as a regular expression for schemas. */
export const sizePattern = "^\\d+(\\.\\d+)? ?[bkmgtBKMGT]?([iI]?[bB])?$";

/** Bytes of "10m", "1.5g", "512" (binary units, as Docker's options); undefined when it is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([bkmgt]?)(?:i?b)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const unit = units[(match[2] ?? "").toLowerCase()];
  return unit === undefined ? undefined : Math.floor(Number(match[1]) * unit);
}

/** "1.5 GiB": three digits, binary units. */
export function sizeText(bytes: number): string {
  const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  const power = bytes < 1024 ? 0 : Math.min(names.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${Number(value < 1000 ? value.toPrecision(3) : value.toFixed(0))} ${names[power]}`;
}
