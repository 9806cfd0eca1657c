/** Makes a {@link TarEntry} of a header block and the extended records that came before it. */
import { archiveErrors } from "./errors.ts";
import { parseSparseList, paxInteger, type PaxRecords, paxTime, XATTR_PREFIX } from "./pax.ts";
import { fromBinary, NO_XATTRS, type SparseExtent, type TarEntry, type TarEntryType } from "./tar-entry.ts";
import type { RawHeader } from "./tar-header.ts";

export interface BuiltEntry {
  readonly entry: TarEntry;
  /** Bytes that follow in the archive. */
  readonly stored: number;
}

/** Where an entry keeps its sparse map, if it has one. */
export function sparseFormat(header: RawHeader, pax: PaxRecords): "none" | "old-gnu" | "pax-0" | "pax-1.0" {
  if (header.flag === "S") return "old-gnu";
  if (last(pax, "GNU.sparse.major") === "1") return "pax-1.0";
  return pax.some(([key]) => key === "GNU.sparse.map" || key === "GNU.sparse.offset") ? "pax-0" : "none";
}

/** `realSize` and `extents` are what the caller read of a sparse map outside the PAX records. */
export function buildEntry(
  header: RawHeader,
  pax: PaxRecords,
  realSize: number | undefined,
  extents: readonly SparseExtent[] | undefined,
): BuiltEntry {
  let { name, linkName, uid, gid } = header;
  let stored = header.size;
  let mtime = { seconds: header.mtime, nanoseconds: 0 };
  let size = realSize;
  let sparseName: string | undefined;
  let xattrs: Map<string, Uint8Array> | undefined;
  for (const [key, value] of pax) {
    switch (key) {
      case "path":
        name = value;
        break;
      case "linkpath":
        linkName = value;
        break;
      case "size":
        stored = paxInteger(value, key, name);
        break;
      case "uid":
        uid = paxInteger(value, key, name);
        break;
      case "gid":
        gid = paxInteger(value, key, name);
        break;
      case "mtime":
        mtime = paxTime(value, name);
        break;
      case "GNU.sparse.name":
        sparseName = value;
        break;
      case "GNU.sparse.size":
      case "GNU.sparse.realsize":
        size = paxInteger(value, key, name);
        break;
      default:
        if (key.startsWith(XATTR_PREFIX)) {
          xattrs ??= new Map();
          xattrs.set(key.slice(XATTR_PREFIX.length), Buffer.from(value, "latin1"));
        }
    }
  }
  if (sparseName !== undefined) name = sparseName;
  const type = entryType(header, name);
  if (type !== "file") stored = 0; // as Go's reader: a size on these is a leftover, no data follows
  const sparse = type === "file" ? (extents ?? paxExtents(pax, name)) : undefined;
  const entry: TarEntry = {
    type,
    name: checkedName(name),
    linkName: checkedName(linkName),
    mode: header.mode & 0o7777,
    uid: checkedOwner(uid, name),
    gid: checkedOwner(gid, name),
    size: type === "file" ? (sparse === undefined ? stored : (size ?? stored)) : 0,
    mtime,
    deviceMajor: header.deviceMajor,
    deviceMinor: header.deviceMinor,
    xattrs: xattrs ?? NO_XATTRS,
    ...(sparse === undefined ? {} : { sparse }),
  };
  return { entry, stored };
}

function entryType(header: RawHeader, name: string): TarEntryType {
  switch (header.flag) {
    case "0":
    case "7": // "contiguous": reserved, a file to everyone
      return name.endsWith("/") ? "directory" : "file";
    case "S":
      return "file";
    case "1":
      return "hardlink";
    case "2":
      return "symlink";
    case "3":
      return "char";
    case "4":
      return "block";
    case "5":
      return "directory";
    case "6":
      return "fifo";
    default:
      throw archiveErrors.ARCHIVE_ENTRY_REFUSED({
        entry: fromBinary(name),
        reason: `its type "${header.flag}" is not supported`,
      });
  }
}

/** GNU.sparse 0.0 (repeated keys) and 0.1 (one list). */
function paxExtents(pax: PaxRecords, name: string): SparseExtent[] | undefined {
  const list = last(pax, "GNU.sparse.map");
  if (list !== undefined) return parseSparseList(list === "" ? [] : list.split(","), name);
  const numbers = pax.filter(([key]) => key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes");
  if (numbers.length === 0) return undefined;
  return parseSparseList(
    numbers.map(([, value]) => value),
    name,
  );
}

function checkedName(name: string): string {
  if (name.includes("\0")) {
    throw archiveErrors.ARCHIVE_ENTRY_REFUSED({ entry: fromBinary(name), reason: "its name holds a NUL" });
  }
  return name;
}

/** Owners are 32 bits wide; the last is "no owner" to chown(2). */
function checkedOwner(id: number, name: string): number {
  if (id < 0 || id >= 0xffff_ffff) {
    throw archiveErrors.ARCHIVE_CORRUPT({ entry: fromBinary(name), reason: `its owner ${id} is absurd` });
  }
  return id;
}

function last(pax: PaxRecords, key: string): string | undefined {
  return pax.findLast(([each]) => each === key)?.[1];
}
