/**
 * A PVH kernel out of a bzImage: the uncompressed ELF, which QEMU starts directly. Booting the bzImage would decompress it under
 * emulation on every start, 700 ms. Linux, Documentation/arch/x86/boot.rst.
 */
import { promisify } from "node:util";
import { gunzip, zstdDecompress } from "node:zlib";
import { guestErrors } from "./errors.ts";
import { decompressLz4Legacy } from "./lz4-legacy.ts";

/** Where the boot protocol keeps what; offsets into the file. */
const header = {
  setupSectors: 0x1f1,
  magic: 0x202,
  version: 0x206,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
  end: 0x250,
};
const payloadProtocol = 0x0208;
const elfMagic = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
/** XEN_ELFNOTE_PHYS32_ENTRY, with the name "Xen": where a PVH boot begins. */
const pvhNote = Buffer.concat([
  Buffer.from([4, 0, 0, 0]),
  Buffer.from([8, 0, 0, 0, 18, 0, 0, 0]),
  Buffer.from("Xen\0"),
]);
const pvhNote32 = Buffer.concat([
  Buffer.from([4, 0, 0, 0]),
  Buffer.from([4, 0, 0, 0, 18, 0, 0, 0]),
  Buffer.from("Xen\0"),
]);

const unzip = promisify(gunzip);
const unzstd = promisify(zstdDecompress);

export type Compression = "gzip" | "lz4" | "xz" | "zstd" | "none";

/** The kernel inside `bzImage`, decompressed. `KERNEL_UNUSABLE` says what it lacks. */
export async function extractPvhKernel(bzImage: Uint8Array): Promise<Buffer> {
  const payload = payloadOf(bzImage);
  const kernel = await decompress(payload);
  if (!kernel.subarray(0, 4).equals(elfMagic))
    throw guestErrors.KERNEL_UNUSABLE({ reason: "what it holds is no ELF file" });
  if (!kernel.includes(pvhNote) && !kernel.includes(pvhNote32)) {
    throw guestErrors.KERNEL_UNUSABLE({ reason: "it was built without a PVH entry (CONFIG_PVH)" });
  }
  return kernel;
}

/** The compressed kernel that `bzImage` has after its set-up code. */
export function payloadOf(bzImage: Uint8Array): Buffer {
  const image = Buffer.from(bzImage.buffer, bzImage.byteOffset, bzImage.byteLength);
  if (image.length < header.end || image.toString("latin1", header.magic, header.magic + 4) !== "HdrS") {
    throw guestErrors.KERNEL_UNUSABLE({ reason: "it is no bzImage" });
  }
  if (image.readUInt16LE(header.version) < payloadProtocol)
    throw guestErrors.KERNEL_UNUSABLE({ reason: "it is older than Linux 2.6.26" });
  // 0 means 4, since the days of boot sectors.
  const setupSectors = image.readUInt8(header.setupSectors) || 4;
  const start = (setupSectors + 1) * 512 + image.readUInt32LE(header.payloadOffset);
  const end = start + image.readUInt32LE(header.payloadLength);
  if (end > image.length || end <= start) throw guestErrors.KERNEL_UNUSABLE({ reason: "it is cut off" });
  return image.subarray(start, end);
}

/** By its first bytes; undefined for one that is not known here. */
export function compressionOf(payload: Uint8Array): Compression | undefined {
  const start = Buffer.from(payload.subarray(0, 6)).toString("hex");
  if (start.startsWith("1f8b")) return "gzip";
  if (start.startsWith("fd377a585a00")) return "xz";
  if (start.startsWith("02214c18")) return "lz4";
  if (start.startsWith("28b52ffd")) return "zstd";
  return start.startsWith("7f454c46") ? "none" : undefined;
}

/** The payload's last four bytes are the kernel's size, and no part of the compressed stream. */
async function decompress(payload: Buffer): Promise<Buffer> {
  const compression = compressionOf(payload);
  const stream = payload.subarray(0, payload.length - 4);
  switch (compression) {
    case "gzip":
      return await unzip(stream);
    case "lz4":
      return decompressLz4Legacy(stream);
    case "zstd":
      return await unzstd(stream);
    case "xz":
    case "none":
      return payload;
    case undefined:
      throw guestErrors.KERNEL_UNUSABLE({
        reason: `its compression (${compression ?? payload.toString("hex", 0, 4)}) is not known here`,
      });
  }
}
