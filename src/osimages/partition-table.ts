/**
 * A GUID partition table (UEFI specification 2.10, chapter 5) with a protective MBR that holds GRUB's boot code: a BIOS starts the code,
 * UEFI firmware finds the EFI system partition. Pure: bytes for both ends of the disk.
 */
import { crc32 } from "node:zlib";

export const sectorSize = 512;

export interface Partition {
  readonly kind: keyof typeof typeGuids;
  /** In the table, for people and for /dev/disk/by-partlabel; at most 36 characters. */
  readonly name: string;
  /** Sectors; the last belongs to it. */
  readonly first: number;
  readonly last: number;
}

export interface PartitionTable {
  /** Sectors of the whole disk. */
  readonly sectors: number;
  readonly partitions: readonly Partition[];
  /** 440 bytes of boot code. */
  readonly bootCode: Uint8Array;
  /** A fresh UUID with each call. */
  readonly newGuid: () => string;
}

export interface TableBytes {
  /** Sectors 0 to 33. */
  readonly head: Buffer;
  /** The last 33 sectors. */
  readonly tail: Buffer;
}

const typeGuids = {
  bios: "21686148-6449-6E6F-744E-656564454649",
  esp: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
  /** "Root partition, x86-64" of the Discoverable Partitions Specification. */
  root: "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
} as const;

const entries = 128;
const entrySize = 128;
const entrySectors = (entries * entrySize) / sectorSize;
/** The protective MBR and the header, or the header alone at the end, and the entries. */
export const headSectors = 2 + entrySectors;
export const tailSectors = 1 + entrySectors;
const headerSize = 92;
const bootCodeSize = 440;

export function encodePartitionTable(table: PartitionTable): TableBytes {
  const { sectors, partitions, bootCode, newGuid } = table;
  if (bootCode.length > bootCodeSize) throw new RangeError(`boot code has at most ${bootCodeSize} bytes`);
  const last = sectors - 1;
  const array = encodeEntries(partitions, newGuid);
  const shared = { array, disk: guidBytes(newGuid()), lastUsable: last - tailSectors };
  const head = Buffer.concat([
    protectiveMbr(sectors, bootCode, guidBytes(newGuid()).subarray(0, 4)),
    header({ ...shared, own: 1, other: last, entriesAt: 2 }),
    array,
  ]);
  const tail = Buffer.concat([array, header({ ...shared, own: last, other: 1, entriesAt: last - entrySectors })]);
  return { head, tail };
}

/** One partition of type 0xEE over the whole disk, so that no tool for MBRs takes the disk for empty. */
function protectiveMbr(sectors: number, bootCode: Uint8Array, signature: Buffer): Buffer {
  const mbr = Buffer.alloc(sectorSize);
  mbr.set(bootCode, 0);
  signature.copy(mbr, bootCodeSize);
  mbr.set([0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff], 446);
  mbr.writeUInt32LE(1, 454);
  mbr.writeUInt32LE(Math.min(sectors - 1, 0xffffffff), 458);
  mbr.writeUInt16LE(0xaa55, 510);
  return mbr;
}

function header(table: {
  readonly array: Buffer;
  readonly disk: Buffer;
  readonly own: number;
  readonly other: number;
  readonly entriesAt: number;
  readonly lastUsable: number;
}): Buffer {
  const block = Buffer.alloc(sectorSize);
  block.write("EFI PART", 0, "latin1");
  block.writeUInt32LE(0x00010000, 8);
  block.writeUInt32LE(headerSize, 12);
  block.writeBigUInt64LE(BigInt(table.own), 24);
  block.writeBigUInt64LE(BigInt(table.other), 32);
  block.writeBigUInt64LE(BigInt(headSectors), 40);
  block.writeBigUInt64LE(BigInt(table.lastUsable), 48);
  table.disk.copy(block, 56);
  block.writeBigUInt64LE(BigInt(table.entriesAt), 72);
  block.writeUInt32LE(entries, 80);
  block.writeUInt32LE(entrySize, 84);
  block.writeUInt32LE(crc32(table.array), 88);
  block.writeUInt32LE(crc32(block.subarray(0, headerSize)), 16);
  return block;
}

function encodeEntries(partitions: readonly Partition[], newGuid: () => string): Buffer {
  const array = Buffer.alloc(entries * entrySize);
  for (const [index, { kind, name, first, last }] of partitions.entries()) {
    const at = index * entrySize;
    guidBytes(typeGuids[kind]).copy(array, at);
    guidBytes(newGuid()).copy(array, at + 16);
    array.writeBigUInt64LE(BigInt(first), at + 32);
    array.writeBigUInt64LE(BigInt(last), at + 40);
    array.write(name.slice(0, 36), at + 56, "utf16le");
  }
  return array;
}

/** The first three fields are little endian (appendix A of the specification). */
function guidBytes(guid: string): Buffer {
  const bytes = Buffer.from(guid.replaceAll("-", ""), "hex");
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}
