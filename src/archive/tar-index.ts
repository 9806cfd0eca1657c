/**
 * What is in an archive that lies on the disk as it came: enough to digest parts of it and to copy them without unpacking it.
 *
 * INVARIANT: an index says exactly what unpacking into an empty directory would have made. Archives about which that takes
 * more than a list of names (links to files, devices, attributes, names that come twice or lead through links) have none.
 */
import { createHash, type Hash, hash } from "node:crypto";
import { writeSync } from "node:fs";
import { messageOf } from "../base/errors.ts";
import { cleanEntryName } from "./entry-name.ts";
import { archiveErrors } from "./errors.ts";
import { NO_XATTRS, type TarEntry, type TarTime } from "./tar-entry.ts";
import { TarParser, type TarHandler } from "./tar-parser.ts";
import { errorCode, type TreeStat } from "./tree-files.ts";

export interface IndexedMember {
  /** Binary, clean: without leading or doubled slashes. */
  readonly name: string;
  readonly kind: "file" | "directory" | "symlink";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: TarTime;
  readonly linkName: string;
  readonly size: number;
  /** Where a file's content is in the plain archive, bytes. */
  readonly offset: number;
  /** SHA-256 of a file's content, hexadecimal. */
  readonly digest: string;
}

/** Beyond so many members the list would take more memory than unpacking takes time. */
const MAX_INDEXED = 200_000;
/** As for an extraction. */
const MAX_ENTRIES = 4_000_000;
/** NAME_MAX: a longer component can't be unpacked. */
const MAX_NAME_BYTES = 255;

/** Writes a plain tar to the descriptor `fd` as it comes; returns its members, undefined when it has to be unpacked to tell. */
export async function spoolArchive(
  chunks: AsyncIterable<Buffer>,
  fd: number,
): Promise<readonly IndexedMember[] | undefined> {
  const indexer = new TarIndexer();
  const parser = new TarParser(indexer, { maxBytes: Infinity, maxEntries: MAX_ENTRIES });
  for await (const chunk of chunks) {
    indexer.arrived(chunk);
    parser.feed(chunk);
    write(fd, chunk, indexer.name);
  }
  parser.end();
  return indexer.members;
}

function write(fd: number, chunk: Buffer, entry: string): void {
  try {
    for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOSPC" || code === "EDQUOT") throw archiveErrors.ARCHIVE_DISK_FULL({ entry }, { cause: error });
    throw archiveErrors.ARCHIVE_WRITE_FAILED({ entry, reason: messageOf(error) }, { cause: error });
  }
}

class TarIndexer implements TarHandler {
  #members: IndexedMember[] | undefined = [];
  /** What each name is; "implied" are directories that have no entry so far. */
  readonly #kinds = new Map<string, IndexedMember["kind"] | "implied">();
  #chunk: Buffer = Buffer.alloc(0);
  #chunkStart = 0;
  #entry: { readonly entry: TarEntry; readonly name: string } | undefined;
  #offset = 0;
  #digest = "";
  #hash: Hash | undefined;

  get members(): readonly IndexedMember[] | undefined {
    return this.#members;
  }

  /** Of the entry at hand. */
  get name(): string {
    return this.#entry?.name ?? "";
  }

  /** The piece that the parser gets next. */
  arrived(chunk: Buffer): void {
    this.#chunkStart += this.#chunk.length;
    this.#chunk = chunk;
  }

  entry(entry: TarEntry): void {
    const name = cleanEntryName(entry.name);
    this.#entry = { entry, name };
    this.#offset = 0;
    this.#digest = "";
    this.#hash = undefined;
    if (name === "" && entry.type === "directory") return;
    if (!this.#isPlain(entry, name)) this.#members = undefined;
  }

  data(chunk: Buffer, position: number): void {
    if (this.#members === undefined || chunk.length === 0) return;
    if (position === 0) this.#offset = this.#chunkStart + chunk.byteOffset - this.#chunk.byteOffset;
    if (position === 0 && chunk.length === this.#entry?.entry.size) {
      this.#digest = hash("sha256", chunk, "hex");
      return;
    }
    this.#hash ??= createHash("sha256");
    this.#hash.update(chunk);
  }

  endEntry(): void {
    if (this.#members === undefined || this.#entry === undefined || this.#entry.name === "") return;
    const { entry, name } = this.#entry;
    if (entry.type !== "file" && entry.type !== "directory" && entry.type !== "symlink") return;
    this.#members.push({
      name,
      kind: entry.type,
      // A symbolic link's own is the file system's, which has but one.
      mode: entry.type === "symlink" ? 0o777 : entry.mode,
      uid: entry.uid,
      gid: entry.gid,
      mtime: entry.mtime,
      linkName: entry.linkName,
      size: entry.type === "file" ? entry.size : 0,
      offset: this.#offset,
      digest: this.#hash?.digest("hex") ?? this.#digest,
    });
  }

  /** Whether unpacking it makes just what it says, at just the place that it names. Notes that it is there. */
  #isPlain(entry: TarEntry, name: string): boolean {
    const { type } = entry;
    if (name === "" || (type !== "file" && type !== "directory" && type !== "symlink")) return false;
    if (entry.sparse !== undefined || entry.xattrs.size > 0 || this.#kinds.size >= MAX_INDEXED) return false;
    const words = name.split("/");
    if (words.some((word) => word.length > MAX_NAME_BYTES)) return false;
    const there = this.#kinds.get(name);
    if (there !== undefined && !(there === "implied" && type === "directory")) return false;
    for (let parent = parentOf(name); parent !== ""; parent = parentOf(parent)) {
      const kind = this.#kinds.get(parent);
      if (kind === "directory" || kind === "implied") break;
      if (kind !== undefined) return false;
      this.#kinds.set(parent, "implied");
    }
    this.#kinds.set(name, type);
    return true;
  }
}

/** The members as a tree. Paths are binary, canonical ("/a/b"); the root is "". */
export class TarIndex {
  readonly #nodes = new Map<string, IndexedMember>();
  readonly #children = new Map<string, string[]>();

  constructor(members: readonly IndexedMember[]) {
    this.#children.set("", []);
    for (const member of members) this.#add(`/${member.name}`, member);
    for (const names of this.#children.values()) names.sort();
  }

  member(path: string): IndexedMember | undefined {
    return this.#nodes.get(path);
  }

  /** Takes it out, with all below it. */
  remove(path: string): void {
    for (const name of this.#children.get(path) ?? []) this.remove(`${path}/${name}`);
    this.#children.delete(path);
    if (!this.#nodes.delete(path)) return;
    const siblings = this.#children.get(parentOf(path));
    siblings?.splice(siblings.indexOf(path.slice(path.lastIndexOf("/") + 1)), 1);
  }

  lstat(path: string): TreeStat | undefined {
    const member = path === "" ? top : this.#nodes.get(path);
    if (member === undefined) return undefined;
    const { kind, mode, uid, gid, size, mtime } = member;
    return { kind, mode, uid, gid, size, mtime, identity: path, links: 1, deviceMajor: 0, deviceMinor: 0 };
  }

  /** Names in a directory, in byte order; none of anything else. */
  readdir(path: string): readonly string[] {
    return this.#children.get(path) ?? [];
  }

  readlink(path: string): string {
    return this.#nodes.get(path)?.linkName ?? "";
  }

  xattrs(): ReadonlyMap<string, Uint8Array> {
    return NO_XATTRS;
  }

  *contentDigest(path: string): Generator<void, string, void> {
    yield;
    return this.#nodes.get(path)?.digest ?? "";
  }

  #add(path: string, member: IndexedMember): void {
    const known = this.#nodes.has(path);
    this.#nodes.set(path, member);
    if (member.kind === "directory" && !this.#children.has(path)) this.#children.set(path, []);
    if (known) return;
    const parent = parentOf(path);
    // One without an entry of its own is made as an extraction makes it.
    if (!this.#children.has(parent)) this.#add(parent, { ...top, name: parent.slice(1) });
    this.#children.get(parent)?.push(path.slice(path.lastIndexOf("/") + 1));
  }
}

const top: IndexedMember = {
  name: "",
  kind: "directory",
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  linkName: "",
  size: 0,
  offset: 0,
  digest: "",
};

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), 0));
}
