/**
 * File trees behind a wall: every path is resolved by the kernel inside `root`, from a worker thread that has unshared its
 * file-system context and changed its root (`unshare(CLONE_FS)` + `chroot`), so that `..`, absolute names and symbolic links of
 * hostile archives and images lead nowhere outside. The one way in which Berth reads or writes files that a container could have made.
 */
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { IndexedMember } from "./tar-index.ts";

export interface ConfinedRoots {
  /** Starts a worker confined to the directory `root`. Dispose it when done. */
  open(ctx: OpContext, root: string): Promise<ConfinedRoot>;
}

/** All paths are inside the root, absolute or relative to it. */
export interface ConfinedRoot extends AsyncDisposable {
  /** `PATH_NOT_FOUND`; does not follow a final symbolic link unless asked. */
  stat(ctx: OpContext, path: string, options?: { readonly follow?: boolean }): Promise<FileStat>;
  readFile(ctx: OpContext, path: string, maxBytes: number): Promise<Uint8Array>;
  /** Like mkdir -p; new directories get owner and mode. */
  makeDirectories(
    ctx: OpContext,
    path: string,
    options: { readonly mode: number; readonly uid: number; readonly gid: number },
  ): Promise<void>;
  /** Unpacks a tar, see {@link ExtractRequest}. Errors name the entry: `ARCHIVE_ENTRY_REFUSED`, `ARCHIVE_TRUNCATED`, `ARCHIVE_TOO_LARGE`, `ARCHIVE_CORRUPT`. */
  extract(ctx: OpContext, request: ExtractRequest): Promise<ExtractResult>;
  /**
   * Writes an archive, decompressed, to a file as it comes, and tells its members; undefined when only unpacking the file
   * can tell what it makes. Fails as {@link extract} does on what is no tar.
   */
  spool(ctx: OpContext, request: SpoolRequest): Promise<readonly IndexedMember[] | undefined>;
  /** A tar of `path` (a file, or a directory with everything below), deterministic, with owners, xattrs, sparse files and hard links. */
  pack(ctx: OpContext, request: PackRequest): Promise<Readable>;
  /** Everything below the directory `path`, parents before children, in byte order; no link is followed. */
  list(ctx: OpContext, path: string): Promise<readonly ListedFile[]>;
  /** Bytes that each of these trees takes on its file system, as `du -x` counts; 0 for one that is not there. */
  diskUsage(ctx: OpContext, paths: readonly string[]): Promise<readonly number[]>;
  /** Digest of a file or of everything below a directory, see {@link DigestRequest}; hexadecimal. */
  digest(ctx: OpContext, request: DigestRequest): Promise<string>;
  /** Removes a file or a whole tree; missing is no error. */
  remove(ctx: OpContext, path: string): Promise<void>;
}

export interface FileStat {
  readonly name: string;
  readonly kind: "file" | "directory" | "symlink" | "char" | "block" | "fifo" | "socket";
  /** Permission bits with setuid, setgid, sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly mtimeMs: number;
  readonly linkTarget: string;
}

export interface ListedFile {
  /** Relative to the listed directory. */
  readonly path: string;
  readonly kind: FileStat["kind"];
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Nanoseconds since the epoch. */
  readonly mtimeNs: bigint;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** The same for hard links of one file. */
  readonly identity: string;
  /** An overlay upper's directory that hides what lies below. */
  readonly opaque: boolean;
  /** `security.capability`, hexadecimal; "" for none. */
  readonly capability: string;
}

export interface ExtractRequest {
  /** A file on the host (opened before the wall goes up), or a stream. */
  readonly source: { readonly path: string } | { readonly stream: Readable };
  /** "auto" looks at the first bytes: gzip, zstd, bzip2 and xz where their programs exist, or none. */
  readonly compression: "none" | "gzip" | "zstd" | "auto";
  readonly into: string;
  /** "layer": an OCI layer, whiteouts become overlay's. "plain": names are taken as they are, existing files are replaced. */
  readonly semantics: "layer" | "plain";
  /** Uncompressed bytes at most; beyond it `ARCHIVE_TOO_LARGE`. */
  readonly maxBytes?: number;
  /** All files get this owner. */
  readonly chown?: { readonly uid: number; readonly gid: number };
  readonly chmod?: number;
  /** Refuse to replace a directory by a file and the other way round (`docker cp`). */
  readonly noOverwriteDirNonDir?: boolean;
  /** Only members below this directory of the archive ("b/c"), which is taken for its top. */
  readonly only?: string;
  /** Places, absolute in the root, over which something else is mounted: nothing is written there. */
  readonly covered?: readonly CoveredPlace[];
  /** Bytes of the source read so far. */
  readonly onProgress?: (bytesRead: number) => void;
}

export interface SpoolRequest {
  /** Plain or compressed. */
  readonly stream: Readable;
  /** Open for writing, and the caller's to close. */
  readonly fd: number;
}

/** A mount point that an extraction meets, whose members another extraction puts into what is mounted. */
export interface CoveredPlace {
  readonly path: string;
  /** A directory that can be written to takes members; anything else refuses them as the kernel would. */
  readonly takesMembers: boolean;
}

export interface ExtractResult {
  /** Digest of the uncompressed tar. */
  readonly diffId: string;
  /** Bytes of regular files written, and of the targets of symbolic links. */
  readonly size: number;
  readonly entries: number;
}

/** What {@link ConfinedRoot.pack} would take of `path`: names, types, modes, links, attributes and contents; never times. */
export interface DigestRequest {
  readonly path: string;
  /** Paths relative to `path` to leave out, and all below them. */
  readonly exclude?: readonly string[];
  /** Whether owners count. */
  readonly owners: boolean;
}

export interface PackRequest {
  readonly path: string;
  /** Name of the top entry instead of the path's own; "" packs a directory's contents. */
  readonly rename?: string;
  /** "layer" turns overlay whiteouts and opaque marks into OCI ones. */
  readonly semantics: "layer" | "plain";
  /** Paths relative to `path` to leave out (already matched by the caller), and all below them. */
  readonly exclude?: readonly string[];
}
