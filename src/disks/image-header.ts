/**
 * What the first bytes of a disk image say, read before any program that would act on them. Pure; everything in it is hostile.
 * QEMU docs/interop/qcow2.txt; VMware "Virtual Disk Format 5.0"; VirtualBox VDICore.h; Microsoft "[MS-VHDX]" and "VHD Image Format".
 */
import { diskErrors } from "./errors.ts";
import type { DiskFormat } from "./virtual-disks.ts";
import { vmdkSubformat } from "./vmdk-descriptor.ts";

/** Bytes from the start that {@link readHeader} looks at, and from the end. */
export const headBytes = 1024 * 1024;
export const tailBytes = 512;

export interface ImageBytes {
  /** For messages. */
  readonly name: string;
  /** The first {@link headBytes} of the file, or all of it. */
  readonly head: Buffer;
  /** The last {@link tailBytes}, or all of it. */
  readonly tail: Buffer;
  /** Of the whole file. */
  readonly size: number;
}

export interface ImageHeader {
  readonly format: DiskFormat;
  readonly variant?: string;
  /** Bytes; undefined where it is not in the header (vhdx). */
  readonly virtualSize?: number;
  /** The path of a backing file, as it is in the header. */
  readonly backing?: string;
}

/** The format by its magic number, "raw" when there is none of a disk image or of another kind of file that is none. `DISK_FORMAT_UNSUPPORTED`. */
export function detectFormat(bytes: ImageBytes): DiskFormat {
  const { head, tail, size, name } = bytes;
  for (const { format, at, magic } of magics) {
    if (head.subarray(at, at + magic.length).equals(magic)) return format;
  }
  if (tail.subarray(0, vhdCookie.length).equals(vhdCookie)) return "vpc";
  for (const { what, at, magic } of strangers) {
    if (head.subarray(at, at + magic.length).equals(magic)) throw unsupported(name, what);
  }
  if (tail.subarray(0, 4).equals(Buffer.from("koly"))) throw unsupported(name, "an Apple disk image (dmg)");
  if (size === 0) throw unsupported(name, "it is empty");
  if (size % 512 !== 0) throw unsupported(name, `a raw disk has whole sectors of 512 bytes, and it has ${size} bytes`);
  return "raw";
}

/** Reads and judges the header of a file of this format. `DISK_CORRUPT`, `DISK_ENCRYPTED`, `DISK_FORMAT_UNSUPPORTED`. */
export function readHeader(bytes: ImageBytes, format: DiskFormat): ImageHeader {
  switch (format) {
    case "raw":
      return { format, virtualSize: bytes.size };
    case "qcow2":
      return readQcow2(bytes);
    case "vmdk":
      return readVmdk(bytes);
    case "vdi":
      return readVdi(bytes);
    case "vhdx":
      requireBytes(bytes, 320 * 1024);
      return { format };
    case "vpc":
      return readVpc(bytes);
  }
}

const vhdCookie = Buffer.from("conectix");

const magics: readonly { readonly format: DiskFormat; readonly at: number; readonly magic: Buffer }[] = [
  { format: "qcow2", at: 0, magic: Buffer.from("QFI\xfb", "latin1") },
  { format: "vmdk", at: 0, magic: Buffer.from("KDMV") },
  { format: "vdi", at: 0x40, magic: Buffer.from([0x7f, 0x10, 0xda, 0xbe]) },
  { format: "vhdx", at: 0, magic: Buffer.from("vhdxfile") },
  { format: "vpc", at: 0, magic: vhdCookie },
];

/** What would pass for a raw disk and is surely meant otherwise. */
const strangers: readonly { readonly what: string; readonly at: number; readonly magic: Buffer }[] = [
  { what: "a vmdk that only names other files", at: 0, magic: Buffer.from("# Disk DescriptorFile") },
  { what: "an old vmdk of ESX (COWD)", at: 0, magic: Buffer.from("COWD") },
  { what: "a LUKS container, which is encrypted", at: 0, magic: Buffer.from("LUKS\xba\xbe", "latin1") },
  { what: "a qed image", at: 0, magic: Buffer.from("QED\0") },
  { what: "a Parallels image", at: 0, magic: Buffer.from("WithoutFreeSpace") },
  { what: "a Parallels image", at: 0, magic: Buffer.from("WithouFreSpacExt") },
  { what: "it is compressed (gzip)", at: 0, magic: Buffer.from([0x1f, 0x8b, 0x08]) },
  { what: "it is compressed (xz)", at: 0, magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]) },
  { what: "it is compressed (zstd)", at: 0, magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]) },
  { what: "it is compressed (bzip2)", at: 0, magic: Buffer.from("BZh") },
  { what: "a zip archive", at: 0, magic: Buffer.from([0x50, 0x4b, 0x03, 0x04]) },
  { what: "a tar archive (an OVA is imported as a machine)", at: 257, magic: Buffer.from("ustar") },
];

function unsupported(file: string, reason: string) {
  return diskErrors.DISK_FORMAT_UNSUPPORTED({ file, reason });
}

function requireBytes({ head, name }: ImageBytes, needed: number): void {
  if (head.length < needed) throw diskErrors.DISK_CORRUPT({ file: name, reason: "it ends inside its header" });
}

/** A number of the header that JavaScript can hold exactly. */
function exact(value: bigint, name: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw diskErrors.DISK_CORRUPT({ file: name, reason: `its header speaks of ${value} bytes` });
  }
  return Number(value);
}

/** docs/interop/qcow2.txt, "Header": incompatible features. */
const qcow2Features = { dirty: 1n, corrupt: 2n, externalData: 4n, known: 0b11111n };

function readQcow2(bytes: ImageBytes): ImageHeader {
  const { head, name } = bytes;
  requireBytes(bytes, 72);
  const corrupt = (reason: string) => diskErrors.DISK_CORRUPT({ file: name, reason });
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw unsupported(name, `qcow2 of version ${version}`);
  if (head.readUInt32BE(32) !== 0) throw diskErrors.DISK_ENCRYPTED({ file: name });
  const clusterBits = head.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw corrupt(`clusters of 2^${clusterBits} bytes`);
  if (version === 3) {
    requireBytes(bytes, 104);
    const features = head.readBigUInt64BE(72);
    if ((features & qcow2Features.externalData) !== 0n) {
      throw diskErrors.DISK_BACKING_REFUSED({ file: name, backing: "an external data file" });
    }
    if ((features & qcow2Features.corrupt) !== 0n) throw corrupt("it says of itself that it is corrupt");
    if ((features & ~qcow2Features.known) !== 0n) throw unsupported(name, "a qcow2 with features that are not known");
  }
  const virtualSize = exact(head.readBigUInt64BE(24), name);
  const l1Entries = head.readUInt32BE(36);
  if (exact(head.readBigUInt64BE(40), name) + l1Entries * 8 > bytes.size) throw corrupt("it ends inside its tables");
  const backingAt = exact(head.readBigUInt64BE(8), name);
  const backingLength = head.readUInt32BE(16);
  if (backingAt === 0) return { format: "qcow2", virtualSize };
  if (backingLength > 1023 || backingAt + backingLength > head.length) throw corrupt("the name of its backing file");
  return { format: "qcow2", virtualSize, backing: head.toString("utf8", backingAt, backingAt + backingLength) };
}

function readVmdk(bytes: ImageBytes): ImageHeader {
  const { head, name } = bytes;
  requireBytes(bytes, 512);
  const sector = (at: number) => exact(head.readBigUInt64LE(at), name) * 512;
  const at = sector(28);
  const length = sector(36);
  if (at === 0 || length === 0) throw unsupported(name, "one of several files of a vmdk");
  if (at + length > head.length) throw diskErrors.DISK_CORRUPT({ file: name, reason: "its descriptor is outside" });
  const descriptor = head.toString("latin1", at, at + length).replace(/\0[\s\S]*$/, "");
  return { format: "vmdk", variant: vmdkSubformat(descriptor, name), virtualSize: sector(12) };
}

function readVdi(bytes: ImageBytes): ImageHeader {
  const { head, name } = bytes;
  requireBytes(bytes, 0x200);
  const version = head.readUInt32LE(0x44);
  if (version !== 0x10001) throw unsupported(name, `vdi of version 0x${version.toString(16)}`);
  const type = head.readUInt32LE(0x4c);
  const isZero = (at: number) => head.subarray(at, at + 16).every((byte) => byte === 0);
  // uuidLinkage and uuidParent: it is a difference to another disk.
  if (type === 4 || !isZero(0x1a8) || !isZero(0x1b8)) {
    throw diskErrors.DISK_BACKING_REFUSED({ file: name, backing: "the parent of a differencing disk" });
  }
  if (type !== 1 && type !== 2) throw unsupported(name, `vdi of type ${type}`);
  // The map of blocks, and the blocks behind it; the last of them may be short.
  const blocks = head.readUInt32LE(0x180);
  const allocated = Math.max(0, head.readUInt32LE(0x184) - 1);
  const mapEnd = head.readUInt32LE(0x154) + blocks * 4;
  if (Math.max(mapEnd, head.readUInt32LE(0x158) + allocated * head.readUInt32LE(0x178)) > bytes.size) {
    throw diskErrors.DISK_CORRUPT({ file: name, reason: "it ends before its last block" });
  }
  return { format: "vdi", virtualSize: exact(head.readBigUInt64LE(0x170), name) };
}

function readVpc(bytes: ImageBytes): ImageHeader {
  const { tail, head, name } = bytes;
  const footer = head.subarray(0, 8).equals(vhdCookie) ? head : tail;
  if (footer.length < 512) throw diskErrors.DISK_CORRUPT({ file: name, reason: "it ends inside its header" });
  const type = footer.readUInt32BE(60);
  if (type === 4) throw diskErrors.DISK_BACKING_REFUSED({ file: name, backing: "the parent of a differencing disk" });
  if (type !== 2 && type !== 3) throw unsupported(name, `vhd of type ${type}`);
  return {
    format: "vpc",
    variant: type === 2 ? "fixed" : "dynamic",
    virtualSize: exact(footer.readBigUInt64BE(48), name),
  };
}
