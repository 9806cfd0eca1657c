/** Encodes entries as tar headers: plain ustar where everything fits, else a PAX header before it (as Go's writer, and so Docker). */
import { encodePax, encodePaxTime, XATTR_PREFIX } from "./pax.ts";
import { isAscii, type TarEntry, type TarEntryType } from "./tar-entry.ts";
import { BLOCK, encodeHeader, octalLimit } from "./tar-header.ts";

/** The header blocks of an entry; its data (`size` bytes) follows, padded to whole blocks. */
export function encodeEntry(entry: TarEntry): Buffer {
  const records: [string, string][] = [];
  const name = splitName(entry.name);
  if (name === undefined || !isAscii(entry.name)) records.push(["path", entry.name]);
  if (entry.linkName.length > 100 || !isAscii(entry.linkName)) records.push(["linkpath", entry.linkName]);
  if (entry.size > octalLimit(12)) records.push(["size", String(entry.size)]);
  if (entry.uid > octalLimit(8)) records.push(["uid", String(entry.uid)]);
  if (entry.gid > octalLimit(8)) records.push(["gid", String(entry.gid)]);
  const { seconds, nanoseconds } = entry.mtime;
  const plainTime = nanoseconds === 0 && seconds >= 0 && seconds <= octalLimit(12);
  if (!plainTime) records.push(["mtime", encodePaxTime(entry.mtime)]);
  for (const [key, value] of [...entry.xattrs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    records.push([XATTR_PREFIX + key, Buffer.from(value).toString("latin1")]);
  }
  const utf8 = records.every(([key, value]) => (key !== "path" && key !== "linkpath") || isUtf8(value));
  const pax = records.length === 0 ? undefined : encodePax(utf8 ? records : [["hdrcharset", "BINARY"], ...records]);
  const paxBlocks = pax === undefined ? 0 : BLOCK + roundUp(pax.length);
  const out = Buffer.alloc(paxBlocks + BLOCK);
  if (pax !== undefined) {
    encodeHeader(out.subarray(0, BLOCK), { ...paxHeader(entry), size: pax.length });
    pax.copy(out, BLOCK);
  }
  encodeHeader(out.subarray(paxBlocks), {
    flag: FLAGS[entry.type],
    name: name?.name ?? entry.name.slice(0, 100),
    prefix: name?.prefix ?? "",
    linkName: entry.linkName.slice(0, 100),
    mode: entry.mode,
    uid: entry.uid > octalLimit(8) ? 0 : entry.uid,
    gid: entry.gid > octalLimit(8) ? 0 : entry.gid,
    size: entry.size > octalLimit(12) ? 0 : entry.size,
    mtime: Math.min(Math.max(seconds, 0), octalLimit(12)),
    deviceMajor: entry.deviceMajor,
    deviceMinor: entry.deviceMinor,
  });
  return out;
}

/** Two zero blocks. */
export const END_OF_ARCHIVE = Buffer.alloc(2 * BLOCK);

/** `size` and the padding after it. */
export function roundUp(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

const FLAGS: Readonly<Record<TarEntryType, string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

function paxHeader(entry: TarEntry) {
  const base = entry.name.replace(/\/+$/, "").split("/").at(-1) ?? "";
  return {
    flag: "x",
    name: `PaxHeaders.0/${base.replace(/[^\x20-\x7e]/g, "_")}`.slice(0, 100),
    prefix: "",
    linkName: "",
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: 0,
    deviceMajor: 0,
    deviceMinor: 0,
  };
}

/** Fits a name into ustar's 100 bytes, or 155 and 100 around a slash; undefined when it does not. */
function splitName(full: string): { readonly name: string; readonly prefix: string } | undefined {
  if (full.length <= 100) return { name: full, prefix: "" };
  // The last byte may be a directory's slash, which is no place to split.
  const slash = full.indexOf("/", full.length - 101);
  if (slash <= 0 || slash > 155 || slash >= full.length - 1) return undefined;
  return { prefix: full.slice(0, slash), name: full.slice(slash + 1) };
}

function isUtf8(binary: string): boolean {
  return isAscii(binary) || Buffer.from(Buffer.from(binary, "latin1").toString("utf8")).toString("latin1") === binary;
}
