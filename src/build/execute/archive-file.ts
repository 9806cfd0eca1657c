/** Whether ADD unpacks a file: told by its content, whatever its name. */
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";

/** "maybe" is compressed in a way that can't be looked into from here. */
export async function isArchive(file: string): Promise<"yes" | "no" | "maybe"> {
  const head = await readHead(file);
  switch (compressionOf(head)) {
    case "gzip":
      return isTarHeader(await decompressHead(head, createGunzip())) ? "yes" : "no";
    case "zstd":
      return isTarHeader(await decompressHead(head, createZstdDecompress())) ? "yes" : "no";
    case "bzip2":
    case "xz":
      return "maybe";
    case "none":
      return isTarHeader(head) ? "yes" : "no";
  }
}

/** Enough of a compressed file for the first tar header: a zstd block is 128 KiB at most. */
const headLength = 256 * 1024;
const blockLength = 512;

async function readHead(file: string): Promise<Buffer> {
  await using handle = await open(file, "r");
  const buffer = Buffer.alloc(headLength);
  const { bytesRead } = await handle.read(buffer, 0, headLength, 0);
  return buffer.subarray(0, bytesRead);
}

function compressionOf(head: Buffer): "gzip" | "zstd" | "bzip2" | "xz" | "none" {
  const starts = (...bytes: readonly number[]): boolean => bytes.every((byte, index) => head[index] === byte);
  if (starts(0x1f, 0x8b, 0x08)) return "gzip";
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  if (starts(0x42, 0x5a, 0x68)) return "bzip2";
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return "xz";
  return "none";
}

/** The first block; less when the stream is broken before it. */
async function decompressHead(
  head: Buffer,
  decompressor: ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const source = Readable.from([head]);
  try {
    for await (const chunk of source.pipe(decompressor)) {
      const bytes = Buffer.from(chunk);
      chunks.push(bytes);
      length += bytes.length;
      if (length >= blockLength) break;
    }
  } catch {
    // Cut in the middle, or not what its first bytes promise: what came out so far decides.
  } finally {
    source.destroy();
  }
  return Buffer.concat(chunks);
}

/** A tar header's checksum is the sum of its bytes, with spaces in the checksum's own place. */
function isTarHeader(block: Buffer): boolean {
  if (block.length < blockLength) return false;
  const stated = /^[ 0]*([0-7]+)[ \0]/.exec(block.toString("latin1", 148, 157))?.[1];
  if (stated === undefined) return false;
  let sum = 0;
  for (let index = 0; index < blockLength; index++) sum += index >= 148 && index < 156 ? 0x20 : (block[index] ?? 0);
  return sum === Number.parseInt(stated, 8);
}
