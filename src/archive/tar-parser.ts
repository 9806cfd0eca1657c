/**
 * A push parser for tar: ustar, GNU (long names, base-256, sparse), PAX (names, numbers, times, xattrs, sparse 0.0, 0.1
 * and 1.0) and v7. Global PAX headers are skipped, as Docker does; `hdrcharset` needs nothing, as names are bytes here.
 */
import { archiveErrors } from "./errors.ts";
import { parsePax, type PaxRecords } from "./pax.ts";
import { SparseCursor, SparseMapReader, oldSparseSize, parseOldSparse } from "./sparse.ts";
import { fromBinary, type SparseExtent, type TarEntry } from "./tar-entry.ts";
import { BLOCK, parseHeader, type RawHeader } from "./tar-header.ts";
import { buildEntry, sparseFormat } from "./tar-entry-builder.ts";

export interface TarHandler {
  /** An entry starts. A throw ends the parsing. */
  entry(entry: TarEntry): void;
  /** Bytes of the current file at `position`; the buffer is only lent. */
  data(chunk: Buffer, position: number): void;
  endEntry(): void;
}

export interface TarLimits {
  /** Uncompressed bytes of the archive, and logical bytes of its files; Infinity for none. */
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/** Long names, PAX headers and sparse maps are held in memory; what Go's reader allows as well, bytes. */
const MAX_META_BYTES = 1 << 20;

type State =
  | { readonly at: "header" }
  | { readonly at: "meta"; readonly header: RawHeader }
  | { readonly at: "old-sparse"; readonly header: RawHeader; readonly extents: SparseExtent[]; readonly size: number }
  | { readonly at: "sparse-map"; readonly header: RawHeader; readonly map: SparseMapReader }
  | { readonly at: "data"; readonly entry: TarEntry; readonly sparse: SparseCursor | undefined }
  /** What nobody reads: a global header, or the padding after a file's data. */
  | { readonly at: "skip"; readonly of: "header" | "padding" }
  | { readonly at: "end" };

export class TarParser {
  readonly #handler: TarHandler;
  readonly #limits: TarLimits;
  #state: State = { at: "header" };
  /** Bytes of the current data or skip that are still to come, and the padding after it. */
  #remaining = 0;
  #padding = 0;
  #position = 0;
  /** What is gathered for the current block or metadata body. */
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  /** Metadata for the entry to come. */
  #pax: PaxRecords = [];
  #longName: string | undefined;
  #longLink: string | undefined;
  #zeroBlocks = 0;
  #lastName = "";
  #bytes = 0;
  #logicalBytes = 0;
  #entries = 0;

  constructor(handler: TarHandler, limits: TarLimits) {
    this.#handler = handler;
    this.#limits = limits;
  }

  get entries(): number {
    return this.#entries;
  }

  feed(chunk: Buffer): void {
    const allowed = chunk.subarray(0, Math.min(chunk.length, this.#limits.maxBytes - this.#bytes));
    this.#bytes += allowed.length;
    let at = 0;
    while (at < allowed.length) at = this.#step(allowed, at);
    // Only now, so that the error can name the entry that goes too far.
    if (allowed.length < chunk.length) throw this.#tooLarge(this.#lastName, "bytes", this.#limits.maxBytes);
  }

  /**
   * The input is over: `ARCHIVE_TRUNCATED` unless all data that was promised came. A missing end mark and missing padding are
   * forgiven, as Go's reader does: the docker client sends such contexts when the Dockerfile is outside of them.
   */
  end(): void {
    const state = this.#state;
    const { at } = state;
    const pending = this.#pax.length > 0 || this.#longName !== undefined || this.#longLink !== undefined;
    if (at === "end" || (at === "header" && this.#gatheredBytes === 0 && !pending)) return;
    if (state.at === "skip" && state.of === "padding") return;
    const where = at === "data" ? "the data" : at === "header" && !pending ? "a header" : "an extended header";
    throw archiveErrors.ARCHIVE_TRUNCATED({ entry: fromBinary(this.#lastName), where });
  }

  /** Takes what it can from `chunk` at `at`; returns where it stopped. */
  #step(chunk: Buffer, at: number): number {
    const state = this.#state;
    switch (state.at) {
      case "header": {
        const taken = this.#gather(chunk, at, BLOCK);
        if (taken.body !== undefined) this.#header(taken.body);
        return taken.next;
      }
      case "meta": {
        const size = state.header.size;
        const taken = this.#gather(chunk, at, size + padding(size));
        if (taken.body !== undefined) this.#meta(state.header, taken.body.subarray(0, size));
        return taken.next;
      }
      case "old-sparse": {
        const taken = this.#gather(chunk, at, BLOCK);
        if (taken.body !== undefined) {
          const more = parseOldSparse(taken.body, 0, 21, state.header.name, state.extents);
          this.#checkMetaBytes(state.extents.length * 24, state.header.name);
          if (!more) this.#start(state.header, state.size, state.extents);
        }
        return taken.next;
      }
      case "sparse-map": {
        const taken = this.#gather(chunk, at, BLOCK);
        if (taken.body !== undefined) {
          this.#remaining -= BLOCK;
          if (this.#remaining < 0) throw this.#corrupt(state.header.name, "its sparse map is malformed");
          state.map.feed(taken.body);
          this.#checkMetaBytes(state.map.bytes, state.header.name);
          if (state.map.extents !== undefined) this.#start(state.header, undefined, state.map.extents);
        }
        return taken.next;
      }
      case "data":
        return this.#data(state.entry, state.sparse, chunk, at);
      case "skip": {
        const length = Math.min(this.#remaining, chunk.length - at);
        this.#remaining -= length;
        if (this.#remaining === 0) this.#state = { at: "header" };
        return at + length;
      }
      case "end":
        for (let index = at; index < chunk.length; index++) {
          if (chunk[index] !== 0) throw this.#corrupt("", "data follows its end");
        }
        return chunk.length;
    }
  }

  /** Gathers `need` bytes over several chunks; gives them without copying when one chunk has them all. */
  #gather(chunk: Buffer, at: number, need: number): { readonly next: number; readonly body: Buffer | undefined } {
    const missing = need - this.#gatheredBytes;
    const next = Math.min(chunk.length, at + missing);
    const piece = chunk.subarray(at, next);
    if (this.#gatheredBytes === 0 && piece.length === need) return { next, body: piece };
    // A copy, since the buffer is only lent.
    this.#gathered.push(Buffer.from(piece));
    this.#gatheredBytes += piece.length;
    if (this.#gatheredBytes < need) return { next, body: undefined };
    const body = Buffer.concat(this.#gathered);
    this.#gathered = [];
    this.#gatheredBytes = 0;
    return { next, body };
  }

  #header(block: Buffer): void {
    if (block[0] === 0 && isZero(block)) {
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) {
        if (this.#pax.length > 0 || this.#longName !== undefined)
          throw this.#corrupt(this.#lastName, "its header is missing");
        this.#state = { at: "end" };
      }
      return;
    }
    if (this.#zeroBlocks === 1) throw this.#corrupt("", "a lone zero block is among its entries");
    const header = parseHeader(block);
    if (header.size < 0) throw this.#corrupt(header.name, "its size is negative");
    switch (header.flag) {
      case "x":
      case "X":
      case "L":
      case "K":
        this.#checkMetaBytes(header.size, header.name);
        this.#lastName = header.name;
        this.#state = { at: "meta", header };
        if (header.size === 0) this.#meta(header, Buffer.alloc(0));
        return;
      case "g": // global header: git's commit id and the like
      case "V": // volume label
        this.#checkMetaBytes(header.size, header.name);
        this.#remaining = header.size + padding(header.size);
        this.#state = this.#remaining === 0 ? { at: "header" } : { at: "skip", of: "header" };
        return;
      default:
        this.#member(header, block);
    }
  }

  #meta(header: RawHeader, body: Buffer): void {
    this.#state = { at: "header" };
    if (header.flag === "L") this.#longName = cString(body);
    else if (header.flag === "K") this.#longLink = cString(body);
    else this.#pax = parsePax(body, header.name);
  }

  /** A real entry: applies the metadata that came before, then reads its sparse map where it has one. */
  #member(raw: RawHeader, block: Buffer): void {
    const header = { ...raw, name: this.#longName ?? raw.name, linkName: this.#longLink ?? raw.linkName };
    this.#lastName = header.name;
    const format = sparseFormat(header, this.#pax);
    if (format === "old-gnu") {
      const extents: SparseExtent[] = [];
      const more = parseOldSparse(block, 386, 4, header.name, extents);
      const size = oldSparseSize(block, header.name);
      if (more) this.#state = { at: "old-sparse", header, extents, size };
      else this.#start(header, size, extents);
    } else if (format === "pax-1.0") {
      const { stored } = buildEntry(header, this.#pax, undefined, undefined);
      this.#remaining = stored + padding(stored);
      this.#state = { at: "sparse-map", header, map: new SparseMapReader(header.name) };
    } else {
      this.#start(header, undefined, undefined);
    }
  }

  /** All metadata of an entry is known: hands it on and goes to its data. */
  #start(header: RawHeader, realSize: number | undefined, extents: readonly SparseExtent[] | undefined): void {
    const fromMap = this.#state.at === "sparse-map";
    const { entry, stored } = buildEntry(header, this.#pax, realSize, extents);
    this.#pax = [];
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#lastName = entry.name;
    this.#entries++;
    if (this.#entries > this.#limits.maxEntries) throw this.#tooLarge(entry.name, "entries", this.#limits.maxEntries);
    this.#logicalBytes += entry.size;
    if (this.#logicalBytes > this.#limits.maxBytes) throw this.#tooLarge(entry.name, "bytes", this.#limits.maxBytes);
    this.#position = 0;
    this.#padding = padding(stored);
    // The map of a 1.0 sparse file is part of the stored data, and what is left of it is counted already.
    this.#remaining = fromMap ? this.#remaining - this.#padding : stored;
    const sparse = entry.sparse === undefined ? undefined : new SparseCursor(entry, this.#remaining);
    this.#handler.entry(entry);
    this.#state = { at: "data", entry, sparse };
    if (this.#remaining === 0) this.#finish();
  }

  #data(entry: TarEntry, sparse: SparseCursor | undefined, chunk: Buffer, at: number): number {
    const length = Math.min(this.#remaining, chunk.length - at);
    const piece = chunk.subarray(at, at + length);
    if (sparse === undefined) this.#handler.data(piece, this.#position);
    else sparse.feed(piece, (part, position) => this.#handler.data(part, position));
    this.#position += length;
    this.#remaining -= length;
    if (this.#remaining === 0) this.#finish();
    return at + length;
  }

  #finish(): void {
    this.#handler.endEntry();
    this.#remaining = this.#padding;
    this.#state = this.#padding === 0 ? { at: "header" } : { at: "skip", of: "padding" };
  }

  #checkMetaBytes(bytes: number, entry: string): void {
    if (bytes > MAX_META_BYTES) throw this.#tooLarge(entry, "bytes of metadata", MAX_META_BYTES);
  }

  #tooLarge(entry: string, what: string, limit: number): Error {
    return archiveErrors.ARCHIVE_TOO_LARGE({ entry: fromBinary(entry), what, limit });
  }

  #corrupt(entry: string, reason: string): Error {
    return archiveErrors.ARCHIVE_CORRUPT({ entry: fromBinary(entry), reason });
  }
}

function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function isZero(block: Buffer): boolean {
  for (const byte of block) if (byte !== 0) return false;
  return true;
}

function cString(body: Buffer): string {
  const end = body.indexOf(0);
  return body.toString("latin1", 0, end === -1 ? body.length : end);
}
