/**
 * {@link ConfinedRoots} in this process: the same code over a prefix instead of a wall, and device nodes, owners and
 * attributes kept in memory, so that it needs no root. Paths are resolved by our own walk, which stays inside as well.
 */
import { closeSync, createReadStream, lstatSync, lutimesSync, openSync, realpathSync } from "node:fs";
import { Readable } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";
import type { FileCalls } from "../../host/confinement.ts";
import { detectCompression, MAGIC_BYTES } from "../compression.ts";
import type {
  ConfinedRoot,
  ConfinedRoots,
  DigestRequest,
  ExtractRequest,
  PackRequest,
  SpoolRequest,
} from "../confined-root.ts";
import { archiveErrors } from "../errors.ts";
import { peek } from "../peek.ts";
import { fsPath, type TarTime } from "../tar-entry.ts";
import { spoolArchive } from "../tar-index.ts";
import { TreeFiles, type TreeStat } from "../tree-files.ts";
import { diskUsage } from "../tree-usage.ts";
import {
  decompress,
  digestPath,
  extractChunks,
  listTree,
  makeDirectories,
  packPath,
  readWholeFile,
  removePath,
  statPath,
} from "../tree-operations.ts";

export class InProcessRoots implements ConfinedRoots {
  readonly #records = new Map<string, Record>();

  async open(ctx: OpContext, root: string): Promise<ConfinedRoot> {
    ctx.signal.throwIfAborted();
    return new InProcessRoot(new RecordingTreeFiles(this.#records, realpathSync(root)));
  }
}

/** What an ordinary user can't give a file; by device and inode. */
interface Record {
  readonly xattrs: Map<string, Buffer>;
  uid?: number;
  gid?: number;
  /** Node sets whole seconds from 1970 on only; holds while the file still has the time that was really set. */
  time?: { readonly stated: TarTime; readonly real: bigint };
  device?: Pick<TreeStat, "kind" | "mode" | "deviceMajor" | "deviceMinor">;
}

class InProcessRoot implements ConfinedRoot {
  readonly #files: TreeFiles;

  constructor(files: TreeFiles) {
    this.#files = files;
  }

  async stat(_ctx: OpContext, path: string, options: { readonly follow?: boolean } = {}) {
    return statPath(this.#files, path, options.follow ?? false);
  }

  async readFile(_ctx: OpContext, path: string, maxBytes: number) {
    return readWholeFile(this.#files, path, maxBytes);
  }

  async makeDirectories(
    _ctx: OpContext,
    path: string,
    options: { readonly mode: number; readonly uid: number; readonly gid: number },
  ) {
    makeDirectories(this.#files, path, options);
  }

  async extract(ctx: OpContext, request: ExtractRequest) {
    const { source, compression, onProgress, ...rest } = request;
    const { head, whole } = await peek("stream" in source ? source.stream : createReadStream(source.path), MAGIC_BYTES);
    const found = compression === "auto" ? detectCompression(head) : compression;
    if (found === "bzip2" || found === "xz") {
      throw archiveErrors.ARCHIVE_COMPRESSION_UNSUPPORTED({ compression: found, program: found });
    }
    let bytes = 0;
    async function* counted() {
      for await (const chunk of whole) {
        ctx.signal.throwIfAborted();
        bytes += chunk.length;
        onProgress?.(bytes);
        yield chunk;
      }
    }
    const { notes: _notes, ...result } = await extractChunks(
      this.#files,
      rest,
      decompress(Readable.from(counted()), found),
    );
    return result;
  }

  async spool(ctx: OpContext, { stream, fd }: SpoolRequest) {
    const { head, whole } = await peek(stream, MAGIC_BYTES);
    const found = detectCompression(head);
    if (found === "bzip2" || found === "xz") {
      throw archiveErrors.ARCHIVE_COMPRESSION_UNSUPPORTED({ compression: found, program: found });
    }
    ctx.signal.throwIfAborted();
    return await spoolArchive(decompress(Readable.from(whole), found), fd);
  }

  async pack(_ctx: OpContext, request: PackRequest) {
    const chunks = packPath(this.#files, request);
    const first = chunks.next();
    function* all() {
      if (first.done !== true) yield first.value;
      yield* chunks;
    }
    return Readable.from(all(), { objectMode: false });
  }

  async list(_ctx: OpContext, path: string) {
    return listTree(this.#files, path);
  }

  async diskUsage(_ctx: OpContext, paths: readonly string[]) {
    return paths.map((path) => diskUsage(this.#files, path));
  }

  async digest(_ctx: OpContext, request: DigestRequest) {
    const digesting = digestPath(this.#files, request);
    let step = digesting.next();
    while (step.done !== true) step = digesting.next();
    return step.value;
  }

  async remove(_ctx: OpContext, path: string) {
    removePath(this.#files, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class RecordingTreeFiles extends TreeFiles {
  readonly #records: Map<string, Record>;

  constructor(records: Map<string, Record>, prefix: string) {
    super(recordingCalls(records), prefix);
    this.#records = records;
  }

  override lstat(path: string): TreeStat | undefined {
    const stat = super.lstat(path);
    const record = stat === undefined ? undefined : this.#records.get(stat.identity);
    if (stat === undefined || record === undefined) return stat;
    const real = BigInt(stat.mtime.seconds) * 1_000_000_000n + BigInt(stat.mtime.nanoseconds);
    const mtime = record.time?.real === real ? record.time.stated : stat.mtime;
    return { ...stat, mtime, uid: record.uid ?? stat.uid, gid: record.gid ?? stat.gid, ...record.device };
  }

  override unlink(path: string): void {
    this.#forget(path);
    super.unlink(path);
  }

  override rmdir(path: string): void {
    this.#forget(path);
    super.rmdir(path);
  }

  override chown(path: string, uid: number, gid: number): void {
    Object.assign(recordOf(this.#records, this.at(path)), { uid, gid });
  }

  override chmod(path: string, mode: number, fd?: number): void {
    // A device is a file here, with its mode in the record.
    const record = this.#records.get(identityOf(this.at(path)));
    if (record?.device === undefined) super.chmod(path, mode, fd);
    else record.device = { ...record.device, mode };
  }

  override setTimes(path: string, stated: TarTime): void {
    const at = this.at(path);
    const seconds = Math.max(stated.seconds, 0);
    lutimesSync(at, seconds, seconds);
    recordOf(this.#records, at).time = { stated, real: lstatSync(at, { bigint: true }).mtimeNs };
  }

  /** An inode number is used again after its last name is gone. */
  #forget(path: string): void {
    const stat = super.lstat(path);
    if (stat !== undefined && (stat.links === 1 || stat.kind === "directory")) this.#records.delete(stat.identity);
  }
}

const KINDS = new Map<number, TreeStat["kind"]>([
  [0o020000, "char"],
  [0o060000, "block"],
  [0o010000, "fifo"],
]);

function recordingCalls(records: Map<string, Record>): FileCalls {
  return {
    mknod(path, modeWithType, deviceMajor, deviceMinor) {
      closeSync(openSync(fsPath(path), "wx"));
      const kind = KINDS.get(modeWithType & 0o170000) ?? "file";
      recordOf(records, fsPath(path)).device = { kind, mode: modeWithType & 0o7777, deviceMajor, deviceMinor };
    },
    setXattr: (path, name, value) => void recordOf(records, fsPath(path)).xattrs.set(name, Buffer.from(value)),
    xattrs: (path) => records.get(identityOf(fsPath(path)))?.xattrs ?? new Map(),
    setTimes() {
      throw new Error("RecordingTreeFiles sets times itself");
    },
  };
}

function recordOf(records: Map<string, Record>, path: string | Buffer): Record {
  const identity = identityOf(path);
  const record = records.get(identity) ?? { xattrs: new Map() };
  records.set(identity, record);
  return record;
}

function identityOf(path: string | Buffer): string {
  const { dev, ino } = lstatSync(path, { bigint: true });
  return `${dev}:${ino}`;
}
