/** Packs a tree as a deterministic tar: entries in byte order, no times but modification times, no owner names. */
import { closeSync, readSync } from "node:fs";
import { archiveErrors } from "./errors.ts";
import { fromBinary, NO_XATTRS, type TarEntry } from "./tar-entry.ts";
import { encodeEntry, END_OF_ARCHIVE, roundUp } from "./tar-writer.ts";
import { errorCode, type TreeFiles, type TreeStat } from "./tree-files.ts";
import { isOpaque, isOverlayWhiteout, isOverlayXattr, OPAQUE_MARKER, whiteoutName } from "./whiteout.ts";

export interface PackOptions {
  /** Canonical path of what is packed. */
  readonly path: string;
  /** Name of the top entry; "" packs a directory's contents without an entry for itself. */
  readonly name: string;
  readonly semantics: "layer" | "plain";
  /** Relative to `path`, binary. */
  readonly exclude: ReadonlySet<string>;
}

/** What a file call says of a file that is no longer what it was when its directory was read. */
const GONE = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EINVAL", "ENXIO"]);

/** Bytes of one yielded piece, at most. */
const CHUNK = 1 << 20;

/** The tar in pieces that the consumer owns. Sockets are left out, as tar has no form for them. */
export function* packTree(files: TreeFiles, options: PackOptions): Generator<Buffer, void, void> {
  yield* new TreePacker(files, options).run();
}

class TreePacker {
  readonly #files: TreeFiles;
  readonly #options: PackOptions;
  /** First name of each file that has several, by identity. */
  readonly #firstNames = new Map<string, string>();
  #chunk = Buffer.allocUnsafeSlow(CHUNK);
  #used = 0;

  constructor(files: TreeFiles, options: PackOptions) {
    this.#files = files;
    this.#options = options;
  }

  *run(): Generator<Buffer, void, void> {
    const { path, name } = this.#options;
    const stat = this.#files.lstat(path);
    if (stat === undefined) throw archiveErrors.PATH_NOT_FOUND({ path: fromBinary(path) });
    if (name === "" && stat.kind !== "directory") throw archiveErrors.PATH_NOT_DIRECTORY({ path: fromBinary(path) });
    if (name === "") yield* this.#children(path, "", "");
    else yield* this.#node(path, name, "", stat);
    yield* this.#bytes(END_OF_ARCHIVE);
    if (this.#used > 0) yield this.#chunk.subarray(0, this.#used);
  }

  *#children(path: string, name: string, relative: string): Generator<Buffer, void, void> {
    for (const child of this.#files.readdir(path)) {
      const childRelative = relative === "" ? child : `${relative}/${child}`;
      if (this.#options.exclude.has(childRelative)) continue;
      const childPath = `${path}/${child}`;
      const stat = this.#files.lstat(childPath);
      // Gone since the directory was read.
      if (stat === undefined) continue;
      const parent = name === "" || name.endsWith("/") ? name : `${name}/`;
      try {
        yield* this.#node(childPath, `${parent}${child}`, childRelative, stat, parent, child);
      } catch (error) {
        // A process in a running container removed or replaced it; nothing of it is in the archive yet.
        if (!GONE.has(errorCode(error) ?? "")) throw error;
      }
    }
  }

  *#node(
    path: string,
    name: string,
    relative: string,
    stat: TreeStat,
    parent = "",
    base = name,
  ): Generator<Buffer, void, void> {
    const layer = this.#options.semantics === "layer";
    if (stat.kind === "socket") return;
    if (layer && isOverlayWhiteout(stat)) {
      yield* this.#bytes(encodeEntry(markerEntry(`${parent}${whiteoutName(base)}`, stat)));
      return;
    }
    if (stat.kind === "directory") {
      const xattrs = this.#files.xattrs(path);
      yield* this.#bytes(encodeEntry({ ...describe(name, stat, xattrs), name: `${name.replace(/\/+$/, "")}/` }));
      if (layer && isOpaque(xattrs)) {
        yield* this.#bytes(encodeEntry(markerEntry(`${name}/${OPAQUE_MARKER}`, stat)));
      }
      yield* this.#children(path, name, relative);
      return;
    }
    const first = stat.links > 1 ? this.#firstNames.get(stat.identity) : undefined;
    if (first !== undefined) {
      yield* this.#bytes(
        encodeEntry({ ...describe(name, stat, NO_XATTRS), type: "hardlink", linkName: first, size: 0 }),
      );
      return;
    }
    if (stat.links > 1) this.#firstNames.set(stat.identity, name);
    const entry = describe(name, stat, stat.kind === "symlink" ? NO_XATTRS : this.#files.xattrs(path));
    if (entry.type === "symlink") yield* this.#bytes(encodeEntry({ ...entry, linkName: this.#files.readlink(path) }));
    else if (entry.type === "file") yield* this.#file(path, entry);
    else yield* this.#bytes(encodeEntry(entry));
  }

  /** Exactly `entry.size` bytes, whatever the file does meanwhile: its size is in the header already. */
  *#file(path: string, entry: TarEntry): Generator<Buffer, void, void> {
    const fd = this.#files.open(path);
    if (fd === undefined) return;
    try {
      yield* this.#bytes(encodeEntry(entry));
      let left = entry.size;
      while (left > 0) {
        if (this.#used === CHUNK) yield this.#take();
        const read = readSync(fd, this.#chunk, this.#used, Math.min(left, CHUNK - this.#used), null);
        if (read === 0) break;
        this.#used += read;
        left -= read;
      }
      yield* this.#zeros(left + roundUp(entry.size) - entry.size);
    } finally {
      closeSync(fd);
    }
  }

  *#bytes(bytes: Buffer): Generator<Buffer, void, void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#used === CHUNK) yield this.#take();
      const copied = bytes.copy(this.#chunk, this.#used, at);
      this.#used += copied;
      at += copied;
    }
  }

  *#zeros(count: number): Generator<Buffer, void, void> {
    for (let left = count; left > 0; ) {
      if (this.#used === CHUNK) yield this.#take();
      const length = Math.min(left, CHUNK - this.#used);
      this.#chunk.fill(0, this.#used, this.#used + length);
      this.#used += length;
      left -= length;
    }
  }

  /** The full chunk; the next one is a new buffer, since the consumer keeps this one. */
  #take(): Buffer {
    const full = this.#chunk;
    this.#chunk = Buffer.allocUnsafeSlow(CHUNK);
    this.#used = 0;
    return full;
  }
}

function describe(name: string, stat: TreeStat, xattrs: ReadonlyMap<string, Uint8Array>): TarEntry {
  if (stat.kind === "socket") throw new TypeError("a socket has no tar entry");
  const device = stat.kind === "char" || stat.kind === "block";
  return {
    type: stat.kind,
    name,
    linkName: "",
    mode: stat.mode,
    uid: stat.uid,
    gid: stat.gid,
    size: stat.kind === "file" ? stat.size : 0,
    mtime: stat.mtime,
    deviceMajor: device ? stat.deviceMajor : 0,
    deviceMinor: device ? stat.deviceMinor : 0,
    xattrs: packedXattrs(xattrs),
  };
}

/** Overlay's marks are the snapshot's own, and the host's security labels mean nothing elsewhere. */
function packedXattrs(xattrs: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  if (xattrs.size === 0) return NO_XATTRS;
  return new Map(
    [...xattrs].filter(
      ([name]) => name === "security.capability" || !(isOverlayXattr(name) || name.startsWith("security.")),
    ),
  );
}

function markerEntry(name: string, like: TreeStat): TarEntry {
  return {
    type: "file",
    name,
    linkName: "",
    mode: 0o600,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: like.mtime,
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: NO_XATTRS,
  };
}
