/** Sparse files in tar: GNU's old header maps, the PAX 1.0 map in front of the data, and placing data by a map. */
import { archiveErrors } from "./errors.ts";
import { parseSparseList } from "./pax.ts";
import { fromBinary, type SparseExtent, type TarEntry } from "./tar-entry.ts";
import { number } from "./tar-header.ts";

/**
 * Reads up to `count` (offset, length) pairs of 12 bytes each at `start` and adds them to `extents`. Returns whether an extension
 * block follows: the byte after the pairs (504 in an extension block, 482 in a header).
 */
export function parseOldSparse(
  block: Buffer,
  start: number,
  count: number,
  name: string,
  extents: SparseExtent[],
): boolean {
  for (let index = 0; index < count; index++) {
    const at = start + index * 24;
    if (block[at] === 0) break;
    const extent = {
      offset: number(block, at, 12, name, "sparse map"),
      length: number(block, at + 12, 12, name, "sparse map"),
    };
    extents.push(extent);
  }
  return block[start + count * 24] === 1;
}

/** Logical size in an old GNU sparse header. */
export function oldSparseSize(block: Buffer, name: string): number {
  return number(block, 483, 12, name, "size");
}

/** Reads a PAX 1.0 map: a count and twice as many numbers, each on a line, padded to whole blocks. */
export class SparseMapReader {
  readonly #name: string;
  #text = "";
  #extents: readonly SparseExtent[] | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  /** Set when the map is complete. */
  get extents(): readonly SparseExtent[] | undefined {
    return this.#extents;
  }

  get bytes(): number {
    return this.#text.length;
  }

  feed(block: Buffer): void {
    this.#text += block.toString("latin1");
    const lines = this.#text.split("\n");
    const count = lines.length > 1 ? Number(lines[0]) : undefined;
    if (count === undefined) return;
    if (!Number.isInteger(count) || count < 0) {
      throw archiveErrors.ARCHIVE_CORRUPT({ entry: fromBinary(this.#name), reason: "its sparse map is malformed" });
    }
    // The last piece is what follows the last newline.
    if (lines.length - 1 >= 1 + 2 * count) this.#extents = parseSparseList(lines.slice(1, 1 + 2 * count), this.#name);
  }
}

/** Maps stored bytes to their places in the file. Refuses a map that is out of order, too long, or does not fit the data. */
export class SparseCursor {
  readonly #extents: readonly SparseExtent[];
  #index = 0;
  #used = 0;

  constructor(entry: TarEntry, stored: number) {
    this.#extents = entry.sparse ?? [];
    let end = 0;
    let total = 0;
    for (const { offset, length } of this.#extents) {
      if (offset < end || length < 0) throw mapError(entry, "its sparse map is out of order");
      end = offset + length;
      total += length;
    }
    if (end > entry.size) throw mapError(entry, "its sparse map goes beyond its size");
    if (total !== stored) throw mapError(entry, `its sparse map holds ${total} bytes, its data has ${stored}`);
  }

  feed(chunk: Buffer, place: (part: Buffer, position: number) => void): void {
    let at = 0;
    while (at < chunk.length) {
      const extent = this.#extents[this.#index];
      if (extent === undefined) return;
      const length = Math.min(extent.length - this.#used, chunk.length - at);
      if (length > 0) place(chunk.subarray(at, at + length), extent.offset + this.#used);
      at += length;
      this.#used += length;
      if (this.#used === extent.length) {
        this.#index++;
        this.#used = 0;
      }
    }
  }
}

function mapError(entry: TarEntry, reason: string): Error {
  return archiveErrors.ARCHIVE_CORRUPT({ entry: fromBinary(entry.name), reason });
}
