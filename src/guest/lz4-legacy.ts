/**
 * LZ4's legacy frame, which the kernel's build uses (lz4 -l) and no program of a plain Debian reads: blocks of at most 8 MiB, each with
 * its compressed length before it.
 */
export const lz4LegacyMagic = 0x184c2102;

const blockSize = 8 * 1024 * 1024;

/** What `frame` holds. RangeError when it is damaged. */
export function decompressLz4Legacy(frame: Uint8Array): Buffer {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getUint32(0, true) !== lz4LegacyMagic) throw new RangeError("no LZ4 frame of the legacy kind");
  const blocks: Buffer[] = [];
  for (let at = 4; at + 4 <= frame.length; ) {
    const length = view.getUint32(at, true);
    at += 4;
    // Frames may be joined, each with its magic.
    if (length === lz4LegacyMagic) continue;
    if (at + length > frame.length) throw new RangeError("an LZ4 block goes beyond the end");
    blocks.push(decompressBlock(frame.subarray(at, at + length)));
    at += length;
  }
  return Buffer.concat(blocks);
}

/** A block: runs of a token, literals, and a match that copies from what was written before. */
function decompressBlock(block: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(blockSize);
  let from = 0;
  let to = 0;

  const lengthFrom = (nibble: number): number => {
    if (nibble < 15) return nibble;
    let length = 15;
    for (let more = 255; more === 255; length += more) more = block[from++] ?? 0;
    return length;
  };

  while (from < block.length) {
    const token = block[from++] ?? 0;
    const literals = lengthFrom(token >> 4);
    if (from + literals > block.length || to + literals > blockSize)
      throw new RangeError("LZ4 literals go beyond the end");
    out.set(block.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    // The last run has no match.
    if (from >= block.length) break;
    const offset = (block[from] ?? 0) | ((block[from + 1] ?? 0) << 8);
    from += 2;
    const length = lengthFrom(token & 15) + 4;
    if (offset === 0 || offset > to || to + length > blockSize) throw new RangeError("an LZ4 match points outside");
    if (offset >= length) out.copyWithin(to, to - offset, to - offset + length);
    // It overlaps itself: a pattern that repeats.
    else for (let i = 0; i < length; i++) out[to + i] = out[to + i - offset] ?? 0;
    to += length;
  }
  return out.subarray(0, to);
}
