/** One member of a tar archive, whatever dialect it came in. */

export type TarEntryType = "file" | "directory" | "symlink" | "hardlink" | "char" | "block" | "fifo";

export interface TarEntry {
  readonly type: TarEntryType;
  /** As written, in "binary string" form: each unit is one byte. See {@link fromBinary}. */
  readonly name: string;
  /** Target of symbolic and hard links; binary as well. */
  readonly linkName: string;
  /** Permission bits with setuid, setgid, sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Logical bytes of a file; what a sparse one has when its holes are counted. */
  readonly size: number;
  readonly mtime: TarTime;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** The file's data, in order; undefined when it is not sparse. */
  readonly sparse?: readonly SparseExtent[];
}

export interface TarTime {
  readonly seconds: number;
  /** 0 to 999 999 999, always forward from `seconds`. */
  readonly nanoseconds: number;
}

export interface SparseExtent {
  readonly offset: number;
  readonly length: number;
}

export const NO_XATTRS: ReadonlyMap<string, Uint8Array> = new Map();

/** Text of a binary string, for messages and for JSON. */
export function fromBinary(name: string): string {
  return isAscii(name) ? name : Buffer.from(name, "latin1").toString("utf8");
}

/** The bytes of `text` as a binary string. */
export function toBinary(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** What `node:fs` takes for a binary path: the string itself where bytes and characters agree. */
export function fsPath(path: string): string | Buffer {
  return isAscii(path) ? path : Buffer.from(path, "latin1");
}

export function isAscii(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- the whole 7-bit range is meant
  return /^[\x00-\x7f]*$/.test(text);
}
