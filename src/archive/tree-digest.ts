/** Digest of a tree: what a build step that copies it depends on. */
import { createHash, type Hash } from "node:crypto";
import { closeSync, readSync } from "node:fs";
import { archiveErrors } from "./errors.ts";
import { fromBinary } from "./tar-entry.ts";
import type { TreeFiles, TreeStat } from "./tree-files.ts";
import { isOverlayXattr } from "./whiteout.ts";

export interface TreeDigestOptions {
  /** Canonical path of a file or directory. */
  readonly path: string;
  /** Relative to `path`, binary, each with all below it. */
  readonly exclude: ReadonlySet<string>;
  readonly owners: boolean;
}

/** Bytes of a file read at a time. */
const CHUNK = 256 << 10;

/** A tree to digest: files, or what an archive says of them. */
export interface DigestedTree {
  lstat(path: string): TreeStat | undefined;
  readdir(path: string): readonly string[];
  readlink(path: string): string;
  xattrs(path: string): ReadonlyMap<string, Uint8Array>;
  /** SHA-256 of a file's first `size` bytes, hexadecimal; pauses after each piece. */
  contentDigest(path: string, size: number): Generator<void, string, void>;
}

/** The tree of files themselves. */
export function digestedFiles(files: TreeFiles): DigestedTree {
  const buffer = Buffer.allocUnsafe(CHUNK);
  return {
    lstat: (path) => files.lstat(path),
    readdir: (path) => files.readdir(path),
    readlink: (path) => files.readlink(path),
    xattrs: (path) => files.xattrs(path),
    contentDigest: (path, size) => contentDigest(files, path, size, buffer),
  };
}

/** Pauses after each file and each piece of a large one; returns the digest as hexadecimal. */
export function* digestTree(files: DigestedTree, options: TreeDigestOptions): Generator<void, string, void> {
  const { path } = options;
  const stat = files.lstat(path);
  if (stat === undefined) throw archiveErrors.PATH_NOT_FOUND({ path: fromBinary(path) });
  const digester = new TreeDigester(files, options);
  // A file's own name is no part of it: the destination's counts.
  if (stat.kind === "directory") yield* digester.children(path, "");
  else yield* digester.node(path, "file", stat);
  return digester.hash.digest("hex");
}

class TreeDigester {
  readonly hash: Hash = createHash("sha256");
  readonly #files: DigestedTree;
  readonly #options: TreeDigestOptions;
  /** First name of each file that has several, by identity. */
  readonly #firstNames = new Map<string, string>();

  constructor(files: DigestedTree, options: TreeDigestOptions) {
    this.#files = files;
    this.#options = options;
  }

  *children(path: string, relative: string): Generator<void, void, void> {
    for (const name of this.#files.readdir(path)) {
      const child = relative === "" ? name : `${relative}/${name}`;
      if (this.#options.exclude.has(child)) continue;
      const stat = this.#files.lstat(`${path}/${name}`);
      if (stat !== undefined) yield* this.node(`${path}/${name}`, child, stat);
    }
  }

  *node(path: string, name: string, stat: TreeStat): Generator<void, void, void> {
    if (stat.kind === "socket") return; // a tar, which is what is copied, has no form for it
    const linked = stat.links > 1 && stat.kind !== "directory";
    const first = linked ? this.#firstNames.get(stat.identity) : undefined;
    if (linked && first === undefined) this.#firstNames.set(stat.identity, name);
    this.hash.update(`${JSON.stringify(this.#describe(path, name, stat, first))}\n`);
    if (stat.kind === "directory") yield* this.children(path, name);
    else if (stat.kind === "file" && first === undefined && stat.size > 0) {
      this.hash.update(`${yield* this.#files.contentDigest(path, stat.size)}\n`);
      yield;
    }
  }

  /** Everything but times; owners only when they are copied. */
  #describe(path: string, name: string, stat: TreeStat, first: string | undefined): readonly unknown[] {
    const { kind, mode, size, uid, gid, deviceMajor, deviceMinor } = stat;
    const device = kind === "char" || kind === "block" ? [deviceMajor, deviceMinor] : [];
    return [
      name,
      first === undefined ? kind : "hardlink",
      mode,
      kind === "file" ? size : 0,
      first ?? (kind === "symlink" ? this.#files.readlink(path) : ""),
      device,
      kind === "symlink" ? [] : this.#xattrs(path),
      ...(this.#options.owners ? [uid, gid] : []),
    ];
  }

  /** Those that a copy keeps. */
  #xattrs(path: string): readonly (readonly [string, string])[] {
    const xattrs = this.#files.xattrs(path);
    if (xattrs.size === 0) return [];
    return [...xattrs]
      .filter(([name]) => name === "security.capability" || !(isOverlayXattr(name) || name.startsWith("security.")))
      .map(([name, value]) => [name, Buffer.from(value).toString("hex")] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }
}

function* contentDigest(files: TreeFiles, path: string, size: number, buffer: Buffer): Generator<void, string, void> {
  const fd = files.open(path);
  if (fd === undefined) return "";
  try {
    const hash = createHash("sha256");
    for (let left = size; left > 0; ) {
      const read = readSync(fd, buffer, 0, Math.min(left, CHUNK), null);
      if (read === 0) break;
      hash.update(buffer.subarray(0, read));
      left -= read;
      if (left > 0) yield;
    }
    return hash.digest("hex");
  } finally {
    closeSync(fd);
  }
}
