/** The operations of a confined root, on whatever {@link TreeFiles} is given: the worker's behind the wall, or the fake's. */
import { createHash } from "node:crypto";
import { closeSync, readSync } from "node:fs";
import { finished, type Readable } from "node:stream";
import { BerthError, messageOf } from "../base/errors.ts";
import { createDecompressor } from "./compression.ts";
import type {
  DigestRequest,
  ExtractRequest,
  ExtractResult,
  FileStat,
  ListedFile,
  PackRequest,
} from "./confined-root.ts";
import { archiveErrors } from "./errors.ts";
import { components, resolvePath, walkDirectory } from "./path-walker.ts";
import { fromBinary, NO_XATTRS, toBinary } from "./tar-entry.ts";
import { TarParser } from "./tar-parser.ts";
import { digestedFiles, digestTree } from "./tree-digest.ts";
import { type PackOptions, packTree } from "./tree-packer.ts";
import { removeTree, type TreeFiles, type TreeStat } from "./tree-files.ts";
import { TreeWriter } from "./tree-writer.ts";
import { isOpaque } from "./whiteout.ts";

export function statPath(files: TreeFiles, path: string, follow: boolean): FileStat {
  const full = resolvePath(files, toBinary(path), follow);
  const stat = files.lstat(full);
  if (stat === undefined) throw archiveErrors.PATH_NOT_FOUND({ path });
  return {
    name: fromBinary(full.slice(full.lastIndexOf("/") + 1)) || "/",
    kind: stat.kind,
    mode: stat.mode,
    uid: stat.uid,
    gid: stat.gid,
    size: stat.size,
    mtimeMs: stat.mtime.seconds * 1000 + stat.mtime.nanoseconds / 1e6,
    linkTarget: stat.kind === "symlink" ? fromBinary(files.readlink(full)) : "",
  };
}

export function readWholeFile(files: TreeFiles, path: string, maxBytes: number): Uint8Array {
  const full = resolvePath(files, toBinary(path), true);
  const stat = files.lstat(full);
  if (stat === undefined) throw archiveErrors.PATH_NOT_FOUND({ path });
  const fd = stat.kind === "file" ? files.open(full) : undefined;
  if (fd === undefined) throw archiveErrors.PATH_NOT_FILE({ path });
  try {
    const bytes = new Uint8Array(Math.min(stat.size, maxBytes) + 1);
    let length = 0;
    while (length < bytes.length) {
      const read = readSync(fd, bytes, length, bytes.length - length, null);
      if (read === 0) break;
      length += read;
    }
    if (length > maxBytes) throw archiveErrors.FILE_TOO_LARGE({ path, size: stat.size, limit: maxBytes });
    return bytes.slice(0, length);
  } finally {
    closeSync(fd);
  }
}

export function listTree(files: TreeFiles, path: string): readonly ListedFile[] {
  const top = walkDirectory(files, "", toBinary(path));
  const found: ListedFile[] = [];
  const below = (directory: string, relative: string) => {
    for (const name of files.readdir(directory)) {
      const full = `${directory}/${name}`;
      const stat = files.lstat(full);
      if (stat === undefined) continue; // gone since the directory was read
      const childPath = relative === "" ? name : `${relative}/${name}`;
      found.push(listed(childPath, stat, stat.kind === "symlink" ? NO_XATTRS : files.xattrs(full)));
      if (stat.kind === "directory") below(full, childPath);
    }
  };
  below(top, "");
  return found;
}

function listed(path: string, stat: TreeStat, xattrs: ReadonlyMap<string, Uint8Array>): ListedFile {
  const { kind, mode, uid, gid, size, mtime, identity, deviceMajor, deviceMinor } = stat;
  return {
    path: fromBinary(path),
    kind,
    mode,
    uid,
    gid,
    size,
    mtimeNs: BigInt(mtime.seconds) * 1_000_000_000n + BigInt(mtime.nanoseconds),
    deviceMajor,
    deviceMinor,
    identity,
    opaque: isOpaque(xattrs),
    capability: Buffer.from(xattrs.get("security.capability") ?? []).toString("hex"),
  };
}

export function makeDirectories(
  files: TreeFiles,
  path: string,
  owner: { readonly mode: number; readonly uid: number; readonly gid: number },
): void {
  walkDirectory(files, "", toBinary(path), {
    onMissing: (missing) => {
      files.mkdir(missing, owner.mode & 0o777);
      files.chown(missing, owner.uid, owner.gid);
      files.chmod(missing, owner.mode);
    },
  });
}

export function removePath(files: TreeFiles, path: string): void {
  if (components(path).length === 0) {
    throw archiveErrors.PATH_OPERATION_FAILED({ path, reason: "the root itself is not removed" });
  }
  let full: string;
  try {
    full = resolvePath(files, toBinary(path));
  } catch (error) {
    if (error instanceof BerthError && error.code === "PATH_NOT_FOUND") return;
    throw error;
  }
  removeTree(files, full);
}

export function packOptions(files: TreeFiles, request: PackRequest): PackOptions {
  const path = resolvePath(files, toBinary(request.path));
  const ownName = path.slice(path.lastIndexOf("/") + 1);
  return {
    path,
    name: request.rename === undefined ? ownName || "." : toBinary(request.rename),
    semantics: request.semantics,
    exclude: new Set(request.exclude?.map((each) => components(toBinary(each)).join("/"))),
  };
}

export function digestPath(files: TreeFiles, request: DigestRequest): Generator<void, string, void> {
  const { path, exclude } = packOptions(files, { ...request, semantics: "plain" });
  return digestTree(digestedFiles(files), { path, exclude, owners: request.owners });
}

export function packPath(files: TreeFiles, request: PackRequest): Generator<Buffer, void, void> {
  return packTree(files, packOptions(files, request));
}

/** Beyond this many members an archive is taken for an attack on the inode table. */
const MAX_ENTRIES = 4_000_000;

export type TreeExtraction = Omit<ExtractRequest, "source" | "onProgress" | "compression">;

/** Computes an archive's digest; a source that knows it already has its own. */
export interface Digester {
  update(chunk: Buffer): void;
  /** `sha256:<hex>`, when everything was seen. */
  digest(): string;
}

export function sha256Digester(): Digester {
  const hash = createHash("sha256");
  return { update: (chunk) => void hash.update(chunk), digest: () => `sha256:${hash.digest("hex")}` };
}

/** Unpacks tar chunks (lent: the buffer may be used again) and computes the digest on the way. */
export async function extractChunks(
  files: TreeFiles,
  request: TreeExtraction,
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  digester: Digester = sha256Digester(),
): Promise<ExtractResult & { readonly notes: readonly string[] }> {
  const { maxBytes, into, ...options } = request;
  using writer = new TreeWriter(files, { ...options, into: walkDirectory(files, "", toBinary(into)) });
  const parser = new TarParser(writer, { maxBytes: maxBytes ?? Infinity, maxEntries: MAX_ENTRIES });
  for await (const chunk of chunks) {
    digester.update(chunk);
    parser.feed(chunk);
  }
  parser.end();
  writer.finish();
  return {
    diffId: digester.digest(),
    size: writer.size,
    entries: parser.entries,
    notes: writer.notes,
  };
}

/** `source` decompressed; its errors come out as the archive's. */
export async function* decompress(
  source: Readable,
  compression: "none" | "gzip" | "zstd",
): AsyncGenerator<Buffer, void, void> {
  if (compression === "none") {
    yield* source;
    return;
  }
  const decompressor = createDecompressor(compression);
  let sourceError: unknown;
  const stopWatching = finished(source, (error) => {
    if (error) {
      sourceError = error;
      decompressor.destroy(error);
    }
  });
  source.pipe(decompressor);
  try {
    yield* decompressor;
  } catch (error) {
    // Not a fault of the archive: the source broke, was cancelled, or the consumer threw.
    if (error === sourceError || error instanceof BerthError) throw error;
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "Z_BUF_ERROR") throw archiveErrors.ARCHIVE_TRUNCATED({ entry: "", where: "its compressed data" });
    throw archiveErrors.ARCHIVE_CORRUPT({ entry: "", reason: `${compression}: ${messageOf(error)}` }, { cause: error });
  } finally {
    stopWatching();
    source.unpipe(decompressor);
    decompressor.destroy();
  }
}
