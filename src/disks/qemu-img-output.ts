/** What qemu-img prints, as JSON and as progress. */
import { diskErrors } from "./errors.ts";
import type { CheckResult, DiskFormat, DiskInfo } from "./virtual-disks.ts";

/** Of `qemu-img info --output=json`. `DISK_CORRUPT` when it is another format than `format`. */
export function parseInfo(output: string, format: DiskFormat, file: string): DiskInfo {
  const info = record(output, "read", file);
  const found = info["format"];
  if (found !== format) throw diskErrors.DISK_CORRUPT({ file, reason: `it is ${String(found)}, not ${format}` });
  const snapshots = Array.isArray(info["snapshots"]) ? info["snapshots"] : [];
  const backing = info["backing-filename"];
  return {
    format,
    virtualSize: count(info, "virtual-size"),
    actualSize: count(info, "actual-size"),
    ...(typeof backing === "string" ? { backing } : {}),
    snapshots: snapshots.flatMap((snapshot: unknown) => (isRecord(snapshot) ? [String(snapshot["name"])] : [])),
    dirty: info["dirty-flag"] === true,
  };
}

/** Of `qemu-img check --output=json`. */
export function parseCheck(output: string, file: string): CheckResult {
  const result = record(output, "check", file);
  const corruptionsFixed = count(result, "corruptions-fixed");
  const leaksFixed = count(result, "leaks-fixed");
  return {
    // What was mended is counted among what was found.
    corruptions: Math.max(0, count(result, "corruptions") - (count(result, "corruptions") > 0 ? corruptionsFixed : 0)),
    leaks: Math.max(0, count(result, "leaks") - (count(result, "leaks") > 0 ? leaksFixed : 0)),
    repaired: corruptionsFixed + leaksFixed,
  };
}

/** Bytes, of `qemu-img measure --output=json`. */
export function parseMeasure(output: string, file: string): number {
  return count(record(output, "measure", file), "required");
}

/** Takes `-p`'s output piece by piece: "    (12.34/100%)\r". */
export function progressReader(report: ((done: number) => void) | undefined): (text: string) => void {
  let rest = "";
  let last = -1;
  return (text) => {
    rest += text;
    const done = [...rest.matchAll(/\((\d+(?:\.\d+)?)\/100%\)/g)].at(-1)?.[1];
    rest = rest.slice(-32);
    if (done === undefined || Number(done) === last) return;
    last = Number(done);
    report?.(Math.min(1, last / 100));
  };
}

function record(output: string, verb: string, file: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch (error) {
    throw diskErrors.DISK_TOOL_FAILED({ file, verb, reason: "qemu-img printed no JSON" }, { cause: error });
  }
  if (!isRecord(value)) throw diskErrors.DISK_TOOL_FAILED({ file, verb, reason: "qemu-img printed no JSON object" });
  return value;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function count(from: Readonly<Record<string, unknown>>, key: string): number {
  const value = from[key];
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}
