/** Recognises how an archive is compressed, and decompresses what Node can. */
import { constants, createGunzip, createZstdDecompress } from "node:zlib";
import type { Duplex } from "node:stream";

export type Compression = "none" | "gzip" | "zstd" | "bzip2" | "xz";

/** Bytes needed to tell. */
export const MAGIC_BYTES = 6;

export function detectCompression(head: Uint8Array): Compression {
  for (const [compression, magic] of MAGICS) {
    if (magic.every((byte, index) => head[index] === byte)) return compression;
  }
  return "none";
}

const MAGICS: readonly (readonly [Compression, readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** Output is handed on in pieces of this size at most, so that a bomb is noticed early, bytes. */
const CHUNK = 512 << 10;
/** zstd may ask for a window of 2^31; what the reference decoder allows by default is 2^27. */
const MAX_WINDOW_LOG = 27;

export function createDecompressor(compression: "gzip" | "zstd"): Duplex {
  return compression === "gzip"
    ? createGunzip({ chunkSize: CHUNK })
    : createZstdDecompress({ chunkSize: CHUNK, params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG } });
}
