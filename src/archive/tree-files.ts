/**
 * The file calls that unpacking and packing need: synchronous, on binary paths (see tar-entry.ts) inside one root, none
 * following a final symbolic link. Behind the wall `prefix` is empty: the thread's own root is the tree's.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import type { BigIntStats } from "node:fs";
import type { FileCalls } from "../host/confinement.ts";
import type { FileStat } from "./confined-root.ts";
import { fsPath, type TarTime } from "./tar-entry.ts";

export interface TreeStat {
  readonly kind: FileStat["kind"];
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: TarTime;
  /** Device and inode number: the same for hard links of one file. */
  readonly identity: string;
  readonly links: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/** What a file takes on the disk. */
export interface TreeBlocks {
  readonly bytes: number;
  readonly device: number;
  readonly isDirectory: boolean;
  /** Of a file with several names, the same for each. */
  readonly identity: string | undefined;
}

export class TreeFiles {
  readonly #prefix: string;
  readonly #calls: FileCalls;

  constructor(calls: FileCalls, prefix = "") {
    this.#calls = calls;
    this.#prefix = prefix;
  }

  lstat(path: string): TreeStat | undefined {
    try {
      const stat = lstatSync(this.at(path), { bigint: true, throwIfNoEntry: false });
      return stat === undefined ? undefined : treeStat(stat);
    } catch (error) {
      if (errorCode(error) === "ENOTDIR") return undefined;
      throw error;
    }
  }

  /** Like {@link lstat}, for trees of which only the size is wanted: three times as fast. */
  blocks(path: string): TreeBlocks | undefined {
    const stat = orGone(() => lstatSync(this.at(path), { throwIfNoEntry: false }));
    if (stat === undefined) return undefined;
    const isDirectory = stat.isDirectory();
    const identity = stat.nlink > 1 && !isDirectory ? `${stat.dev}:${stat.ino}` : undefined;
    // st_blocks counts in 512 bytes, whatever the file system's block is.
    return { bytes: stat.blocks * 512, device: stat.dev, isDirectory, identity };
  }

  /** Names in a directory, in byte order. */
  readdir(path: string): string[] {
    return readdirSync(this.at(path), { encoding: "latin1" }).sort();
  }

  /** Names in a directory that may have gone, or become something else. */
  readdirOrNone(path: string): readonly string[] {
    return orGone(() => readdirSync(this.at(path), { encoding: "latin1" })) ?? [];
  }

  readlink(path: string): string {
    return readlinkSync(this.at(path), { encoding: "latin1" });
  }

  mkdir(path: string, mode: number): void {
    mkdirSync(this.at(path), { mode });
  }

  /** A new file, for writing; `EEXIST` when there is something, be it a dangling link. */
  create(path: string, mode: number): number {
    return openSync(this.at(path), O_CREATE_NEW, mode);
  }

  /** An existing regular file, for reading; undefined when it turned into something else. */
  open(path: string): number | undefined {
    const fd = openSync(this.at(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
    return undefined;
  }

  symlink(target: string, path: string): void {
    symlinkSync(fsPath(target), this.at(path));
  }

  link(existing: string, path: string): void {
    linkSync(this.at(existing), this.at(path));
  }

  unlink(path: string): void {
    unlinkSync(this.at(path));
  }

  rmdir(path: string): void {
    rmdirSync(this.at(path));
  }

  chown(path: string, uid: number, gid: number, fd?: number): void {
    if (fd === undefined) lchownSync(this.at(path), uid, gid);
    else fchownSync(fd, uid, gid);
  }

  /** Not for symbolic links, which have no mode. */
  chmod(path: string, mode: number, fd?: number): void {
    if (fd === undefined) chmodSync(this.at(path), mode);
    else fchmodSync(fd, mode);
  }

  setTimes(path: string, time: TarTime, fd?: number): void {
    const { seconds, nanoseconds } = time;
    // Node's calls take floating-point seconds and turn negative ones into "now".
    if (nanoseconds !== 0 || seconds < 0) this.#calls.setTimes(this.#full(path), seconds, nanoseconds);
    else if (fd === undefined) lutimesSync(this.at(path), seconds, seconds);
    else futimesSync(fd, seconds, seconds);
  }

  mknod(path: string, kind: "char" | "block" | "fifo", mode: number, major: number, minor: number): void {
    this.#calls.mknod(this.#full(path), NODE_TYPES[kind] | mode, major, minor);
  }

  setXattr(path: string, name: string, value: Uint8Array): void {
    this.#calls.setXattr(this.#full(path), name, value);
  }

  xattrs(path: string): ReadonlyMap<string, Uint8Array> {
    return this.#calls.xattrs(this.#full(path));
  }

  /** The host's path of `path`, in the form that node:fs takes. */
  protected at(path: string): string | Buffer {
    return fsPath(this.#full(path));
  }

  /** The root itself is "" inside. */
  #full(path: string): string {
    return this.#prefix + path || "/";
  }
}

/** `code` of a failed system call; undefined for other errors. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** Removes whatever is at `path`, with all below it. */
export function removeTree(files: TreeFiles, path: string): void {
  const stat = files.lstat(path);
  if (stat === undefined) return;
  try {
    if (stat.kind === "directory") {
      for (const name of files.readdir(path)) removeTree(files, `${path}/${name}`);
      files.rmdir(path);
    } else {
      files.unlink(path);
    }
  } catch (error) {
    // A process in a running container was faster.
    if (errorCode(error) !== "ENOENT") throw error;
  }
}

const O_CREATE_NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const NODE_TYPES = { char: constants.S_IFCHR, block: constants.S_IFBLK, fifo: constants.S_IFIFO };

function treeStat(stat: BigIntStats): TreeStat {
  const seconds = stat.mtimeNs / 1_000_000_000n - (stat.mtimeNs % 1_000_000_000n < 0n ? 1n : 0n);
  return {
    kind: fileKind(stat),
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: Number(stat.size),
    mtime: { seconds: Number(seconds), nanoseconds: Number(stat.mtimeNs - seconds * 1_000_000_000n) },
    identity: `${stat.dev}:${stat.ino}`,
    links: Number(stat.nlink),
    deviceMajor: Number(((stat.rdev >> 8n) & 0xfffn) | ((stat.rdev >> 32n) & 0xfffff000n)),
    deviceMinor: Number((stat.rdev & 0xffn) | ((stat.rdev >> 12n) & 0xffffff00n)),
  };
}

function fileKind(stat: BigIntStats): TreeStat["kind"] {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isCharacterDevice()) return "char";
  if (stat.isBlockDevice()) return "block";
  return stat.isFIFO() ? "fifo" : "socket";
}

function orGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP") return undefined;
    throw error;
  }
}
