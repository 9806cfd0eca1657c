/** PAX extended headers (POSIX pax, "length key=value\n" records) as binary strings. */
import { archiveErrors } from "./errors.ts";
import type { SparseExtent, TarTime } from "./tar-entry.ts";

export const XATTR_PREFIX = "SCHILY.xattr.";

/** Records in order; GNU.sparse 0.0 repeats keys, everything else takes the last. */
export type PaxRecords = readonly (readonly [key: string, value: string])[];

/** Parses the body of an `x` header. `ARCHIVE_CORRUPT` naming the header when it is malformed. */
export function parsePax(body: Buffer, headerName: string): PaxRecords {
  const records: [string, string][] = [];
  let at = 0;
  while (at < body.length) {
    if (body[at] === 0) break; // padding inside the stated size, as some writers do
    const space = body.indexOf(0x20, at);
    const lengthText = space === -1 ? "" : body.toString("latin1", at, space);
    const end = /^\d{1,9}$/.test(lengthText) ? at + Number(lengthText) : -1;
    const equals = body.indexOf(0x3d, space + 1);
    if (end > body.length || end <= space + 1 || body[end - 1] !== 0x0a || equals === -1 || equals >= end) {
      throw archiveErrors.ARCHIVE_CORRUPT({ entry: headerName, reason: "its extended header is malformed" });
    }
    records.push([body.toString("latin1", space + 1, equals), body.toString("latin1", equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** Encodes records; keys and values are binary strings. */
export function encodePax(records: PaxRecords): Buffer {
  return Buffer.from(records.map(([key, value]) => encodeRecord(key, value)).join(""), "latin1");
}

/** The length counts itself, so it is found by trying one digit more. */
function encodeRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + String(rest.length).length;
  if (String(length).length > String(rest.length).length) length = rest.length + String(length).length;
  return `${length}${rest}`;
}

/** Whole numbers of a PAX record; `ARCHIVE_CORRUPT` when it is not one or not exactly representable. */
export function paxInteger(value: string, key: string, entry: string): number {
  const result = /^\d{1,19}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(result)) {
    throw archiveErrors.ARCHIVE_CORRUPT({ entry, reason: `its ${key} "${value.slice(0, 32)}" is not a usable number` });
  }
  return result;
}

/** Seconds with a decimal fraction, perhaps negative. */
export function paxTime(value: string, entry: string): TarTime {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(value);
  if (match === null)
    throw archiveErrors.ARCHIVE_CORRUPT({ entry, reason: `its time "${value.slice(0, 32)}" is invalid` });
  const nanoseconds = Number((match[3] ?? "").slice(0, 9).padEnd(9, "0"));
  const seconds = Number(match[2]);
  if (match[1] !== "-") return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: -seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds };
}

export function encodePaxTime(time: TarTime): string {
  if (time.nanoseconds === 0) return String(time.seconds);
  const negative = time.seconds < 0;
  const seconds = negative ? -(time.seconds + 1) : time.seconds;
  const nanoseconds = negative ? 1e9 - time.nanoseconds : time.nanoseconds;
  return `${negative ? "-" : ""}${seconds}.${String(nanoseconds).padStart(9, "0").replace(/0+$/, "")}`;
}

/** GNU.sparse 0.1: "offset,length,offset,length,...". */
export function parseSparseList(numbers: readonly string[], entry: string): SparseExtent[] {
  if (numbers.length % 2 !== 0) throw archiveErrors.ARCHIVE_CORRUPT({ entry, reason: "its sparse map is malformed" });
  const extents: SparseExtent[] = [];
  for (let at = 0; at < numbers.length; at += 2) {
    extents.push({
      offset: paxInteger(numbers[at] ?? "", "sparse map", entry),
      length: paxInteger(numbers[at + 1] ?? "", "sparse map", entry),
    });
  }
  return extents;
}
