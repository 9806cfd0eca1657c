/** The 512-byte header block: POSIX ustar, GNU, old STAR and v7 fields (tar(5)). Pure: no I/O, no entry semantics. */
import { archiveErrors } from "./errors.ts";

export const BLOCK = 512;

export interface RawHeader {
  /** The type flag as a character; "\0" is given as "0". */
  readonly flag: string;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes that follow in the archive. */
  readonly size: number;
  readonly mtime: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/** Reads a block. The caller has seen that it is not all zero. `ARCHIVE_CORRUPT` on a bad checksum or number. */
export function parseHeader(block: Buffer): RawHeader {
  verifyChecksum(block);
  const magic = block.toString("latin1", 257, 265);
  const gnu = magic === "ustar  \0";
  const ustar = magic.startsWith("ustar\0");
  const shortName = text(block, 0, 100);
  const prefix = ustar ? text(block, 345, block.toString("latin1", 508, 512) === "tar\0" ? 131 : 155) : "";
  const name = prefix === "" ? shortName : `${prefix}/${shortName}`;
  return {
    flag: block[156] === 0 ? "0" : String.fromCharCode(block[156] ?? 0),
    name,
    linkName: text(block, 157, 100),
    mode: number(block, 100, 8, name, "mode"),
    uid: number(block, 108, 8, name, "uid"),
    gid: number(block, 116, 8, name, "gid"),
    size: number(block, 124, 12, name, "size"),
    mtime: number(block, 136, 12, name, "mtime"),
    deviceMajor: gnu || ustar ? number(block, 329, 8, name, "device") : 0,
    deviceMinor: gnu || ustar ? number(block, 337, 8, name, "device") : 0,
  };
}

/** A NUL-terminated (or full) text field, as a binary string. */
function text(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString("latin1", start, end === -1 || end > start + length ? start + length : end);
}

/** An octal or (high bit set) base-256 number. Empty is 0. */
export function number(block: Buffer, start: number, length: number, entry: string, field: string): number {
  const first = block[start] ?? 0;
  if ((first & 0x80) !== 0) return base256(block, start, length, entry, field);
  let value = 0;
  let digits = false;
  for (let at = start; at < start + length; at++) {
    const byte = block[at] ?? 0;
    if (byte >= 0x30 && byte <= 0x37) {
      value = value * 8 + byte - 0x30;
      digits = true;
    } else if (byte === 0 || (byte === 0x20 && digits)) {
      return value;
    } else if (byte !== 0x20) {
      throw archiveErrors.ARCHIVE_CORRUPT({ entry, reason: `its ${field} is not a number` });
    }
  }
  return value;
}

/** GNU's big-endian two's complement: bit 7 of the first byte marks it, bit 6 is the sign. */
function base256(block: Buffer, start: number, length: number, entry: string, field: string): number {
  const bytes = block.subarray(start, start + length);
  const negative = ((bytes[0] ?? 0) & 0x40) !== 0;
  let value = 0n;
  for (const [index, byte] of bytes.entries()) value = (value << 8n) | BigInt(index === 0 ? byte & 0x7f : byte);
  if (negative) value -= 1n << BigInt(8 * length - 1);
  const result = Number(value);
  if (!Number.isSafeInteger(result)) throw archiveErrors.ARCHIVE_CORRUPT({ entry, reason: `its ${field} is absurd` });
  return result;
}

/** Sum of all bytes with the checksum field as spaces; some old programs summed signed bytes. */
function verifyChecksum(block: Buffer): void {
  let unsigned = 8 * 0x20;
  let signed = unsigned;
  for (let at = 0; at < BLOCK; at++) {
    if (at >= 148 && at < 156) continue;
    const byte = block[at] ?? 0;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stated = number(block, 148, 8, "", "checksum");
  if (stated !== unsigned && stated !== signed) {
    throw archiveErrors.ARCHIVE_CORRUPT({ entry: "", reason: "a header's checksum is wrong" });
  }
}

/** What a ustar block can say; anything larger goes into a PAX header first. */
export interface HeaderFields {
  readonly flag: string;
  readonly name: string;
  readonly prefix: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/** Writes a ustar block into `block` (zero-filled, 512 bytes). */
export function encodeHeader(block: Buffer, fields: HeaderFields): void {
  block.write(fields.name, 0, 100, "latin1");
  octal(block, 100, 8, fields.mode);
  octal(block, 108, 8, fields.uid);
  octal(block, 116, 8, fields.gid);
  octal(block, 124, 12, fields.size);
  octal(block, 136, 12, fields.mtime);
  block.write(fields.flag, 156, 1, "latin1");
  block.write(fields.linkName, 157, 100, "latin1");
  block.write("ustar\x0000", 257, 8, "latin1");
  octal(block, 329, 8, fields.deviceMajor);
  octal(block, 337, 8, fields.deviceMinor);
  block.write(fields.prefix, 345, 155, "latin1");
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK; at++) sum += block[at] ?? 0;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, 8, "latin1");
}

/** The largest number that an octal field of `length` bytes (one is the terminator) holds. */
export function octalLimit(length: number): number {
  return 8 ** (length - 1) - 1;
}

function octal(block: Buffer, start: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, "0"), start, length - 1, "latin1");
}
