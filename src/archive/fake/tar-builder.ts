/** Makes tars for tests, well-formed ones from entries and broken ones by hand. */
import { createHash } from "node:crypto";
import { encodePax, type PaxRecords } from "../pax.ts";
import { NO_XATTRS, type TarEntry } from "../tar-entry.ts";
import { BLOCK, encodeHeader, type HeaderFields } from "../tar-header.ts";
import { encodeEntry, END_OF_ARCHIVE, roundUp } from "../tar-writer.ts";

export interface TestEntry extends Partial<Omit<TarEntry, "size" | "sparse">> {
  readonly name: string;
  readonly data?: string | Buffer;
}

/** A well-formed archive: entries are files unless they say otherwise. */
export function tarOf(...entries: readonly TestEntry[]): Buffer {
  return Buffer.concat([...entries.map(memberOf), END_OF_ARCHIVE]);
}

/** One member: headers, data, padding. */
export function memberOf(entry: TestEntry): Buffer {
  const { data, ...rest } = entry;
  const bytes = Buffer.from(data ?? "");
  const full: TarEntry = {
    type: "file",
    linkName: "",
    mode: entry.type === "directory" ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    mtime: { seconds: 1_700_000_000, nanoseconds: 0 },
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: NO_XATTRS,
    ...rest,
    size: bytes.length,
  };
  return Buffer.concat([encodeEntry(full), padded(bytes)]);
}

/** A member with any header, e.g. a size that is a lie. */
export function rawMember(fields: Partial<HeaderFields>, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(BLOCK);
  encodeHeader(header, {
    flag: "0",
    name: "file",
    prefix: "",
    linkName: "",
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: data.length,
    mtime: 1_700_000_000,
    deviceMajor: 0,
    deviceMinor: 0,
    ...fields,
  });
  return Buffer.concat([header, padded(data)]);
}

/** An `x` header with these records, for the member that follows. */
export function paxMember(records: PaxRecords): Buffer {
  return rawMember({ flag: "x", name: "PaxHeaders.0/x" }, encodePax(records));
}

/** Overwrites header bytes and mends the checksum. */
export function patchHeader(member: Buffer, offset: number, bytes: Buffer): Buffer {
  const patched = Buffer.from(member);
  bytes.copy(patched, offset);
  patched.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of patched.subarray(0, BLOCK)) sum += byte;
  patched.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, 8, "latin1");
  return patched;
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(roundUp(bytes.length) - bytes.length)]);
}
