/** A build context that stays the tar that it came as: most builds find all their steps in the cache, and need no file of it. */
import { type FileHandle, open } from "node:fs/promises";
import { posix } from "node:path";
import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { ConfinedRoots, DigestRequest, FileStat, PackRequest } from "../../archive/confined-root.ts";
import { archiveErrors } from "../../archive/errors.ts";
import { fromBinary, NO_XATTRS, type TarEntry, toBinary } from "../../archive/tar-entry.ts";
import { type IndexedMember, TarIndex } from "../../archive/tar-index.ts";
import { encodeEntry, END_OF_ARCHIVE, roundUp } from "../../archive/tar-writer.ts";
import { digestTree } from "../../archive/tree-digest.ts";
import type { OpContext } from "../../base/op-context.ts";
import { mkdir } from "../../host/files.ts";
import type { ListDirectory, ReadableRoot } from "../tree-paths.ts";

/** Between so many files the engine's thread does something else. */
const STEPS_OF_A_TURN = 64;
/** Whose a context's files are once they are in a build, whoever has them at the client. */
const superuser = { uid: 0, gid: 0 };
/** Bytes of one piece of a tar. */
const CHUNK = 1 << 20;

export class SpooledContext implements ReadableRoot, AsyncDisposable {
  readonly #index: TarIndex;
  readonly #file: FileHandle;
  readonly #tar: string;
  readonly #unpackInto: string;
  readonly #roots: ConfinedRoots;
  readonly #removed: string[] = [];
  #unpacked: Promise<string> | undefined;

  private constructor(
    parts: { readonly roots: ConfinedRoots },
    file: FileHandle,
    options: { readonly tar: string; readonly unpackInto: string; readonly members: readonly IndexedMember[] },
  ) {
    this.#roots = parts.roots;
    this.#file = file;
    this.#tar = options.tar;
    this.#unpackInto = options.unpackInto;
    this.#index = new TarIndex(options.members);
  }

  /** Of the plain tar at `tar`; `unpackInto` is where {@link directory} makes it files, an empty directory. */
  static async open(
    parts: { readonly roots: ConfinedRoots },
    options: { readonly tar: string; readonly unpackInto: string; readonly members: readonly IndexedMember[] },
  ): Promise<SpooledContext> {
    return new SpooledContext(parts, await open(options.tar, "r"), options);
  }

  /** As unpacked files on the host, for what needs files. */
  async directory(ctx: OpContext): Promise<string> {
    this.#unpacked ??= this.#unpack(ctx);
    return await this.#unpacked;
  }

  readonly list: ListDirectory = async (path) => {
    const at = canonical(path);
    return this.#index.readdir(at).map((name) => ({
      name: fromBinary(name),
      isDirectory: this.#index.member(`${at}/${name}`)?.kind === "directory",
    }));
  };

  async stat(_ctx: OpContext, path: string): Promise<FileStat> {
    const at = canonical(path);
    const stat = this.#index.lstat(at);
    if (stat === undefined) throw archiveErrors.PATH_NOT_FOUND({ path });
    const { kind, mode, uid, gid, size, mtime } = stat;
    return {
      name: posix.basename(path) || "/",
      kind,
      mode,
      uid,
      gid,
      size,
      mtimeMs: mtime.seconds * 1000 + mtime.nanoseconds / 1e6,
      linkTarget: kind === "symlink" ? fromBinary(this.#index.readlink(at)) : "",
    };
  }

  /** Of a file; its path is free of symbolic links. */
  async readFile(_ctx: OpContext, path: string, maxBytes: number): Promise<Uint8Array> {
    const member = this.#index.member(canonical(path));
    if (member === undefined) throw archiveErrors.PATH_NOT_FOUND({ path });
    if (member.kind !== "file") throw archiveErrors.PATH_NOT_FILE({ path });
    if (member.size > maxBytes) throw archiveErrors.FILE_TOO_LARGE({ path, size: member.size, limit: maxBytes });
    return await this.#read(member, 0, member.size);
  }

  async digest(ctx: OpContext, request: DigestRequest): Promise<string> {
    const digesting = digestTree(this.#index, {
      path: canonical(request.path),
      exclude: binarySet(request.exclude),
      owners: request.owners,
    });
    let step = digesting.next();
    for (let steps = 1; step.done !== true; steps++) {
      if (steps % STEPS_OF_A_TURN === 0) await nextTurn();
      ctx.signal.throwIfAborted();
      step = digesting.next();
    }
    return step.value;
  }

  async pack(ctx: OpContext, request: PackRequest): Promise<Readable> {
    const path = canonical(request.path);
    const stat = this.#index.lstat(path);
    if (stat === undefined) throw archiveErrors.PATH_NOT_FOUND({ path: request.path });
    const name = request.rename === undefined ? path.slice(path.lastIndexOf("/") + 1) : toBinary(request.rename);
    if (name === "" && stat.kind !== "directory") throw archiveErrors.PATH_NOT_DIRECTORY({ path: request.path });
    const chunks = gather(this.#pieces(path, name, binarySet(request.exclude)));
    return Readable.from(chunks, { objectMode: false, highWaterMark: CHUNK, signal: ctx.signal });
  }

  /** Leaves it out from now on, with all below it. Before anything is unpacked. */
  remove(path: string): void {
    this.#removed.push(path);
    this.#index.remove(canonical(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nobody may write into the directory any more once the build has ended.
    await this.#unpacked?.catch(() => {});
    await this.#file.close();
  }

  async #unpack(ctx: OpContext): Promise<string> {
    const into = this.#unpackInto;
    await mkdir(into, { recursive: true, mode: 0o755 });
    await using root = await this.#roots.open(ctx, into);
    await root.extract(ctx, {
      source: { path: this.#tar },
      compression: "none",
      into: "/",
      semantics: "plain",
      chown: superuser,
    });
    for (const path of this.#removed) await root.remove(ctx, path);
    return into;
  }

  async *#pieces(path: string, name: string, exclude: ReadonlySet<string>): AsyncGenerator<Buffer> {
    if (name === "") yield* this.#children(path, "", "", exclude);
    else yield* this.#node(path, name, "", exclude);
    yield END_OF_ARCHIVE;
  }

  async *#children(path: string, name: string, relative: string, exclude: ReadonlySet<string>): AsyncGenerator<Buffer> {
    for (const child of this.#index.readdir(path)) {
      const below = relative === "" ? child : `${relative}/${child}`;
      if (!exclude.has(below)) yield* this.#node(`${path}/${child}`, posix.join(name, child), below, exclude);
    }
  }

  async *#node(path: string, name: string, relative: string, exclude: ReadonlySet<string>): AsyncGenerator<Buffer> {
    const member = this.#index.member(path);
    if (member === undefined) return;
    yield encodeEntry(entryOf(member, name));
    if (member.kind === "directory") yield* this.#children(path, name, relative, exclude);
    for (let at = 0; at < member.size; at += CHUNK) {
      yield await this.#read(member, at, Math.min(CHUNK, member.size - at));
    }
    const padding = roundUp(member.size) - member.size;
    if (padding > 0) yield Buffer.alloc(padding);
  }

  async #read(member: IndexedMember, from: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; ) {
      const { bytesRead } = await this.#file.read(buffer, at, length - at, member.offset + from + at);
      if (bytesRead === 0) throw archiveErrors.ARCHIVE_TRUNCATED({ entry: fromBinary(member.name), where: "the data" });
      at += bytesRead;
    }
    return buffer;
  }
}

function entryOf(member: IndexedMember, name: string): TarEntry {
  const { kind, mode, uid, gid, size, mtime, linkName } = member;
  return {
    type: kind,
    name: kind === "directory" ? `${name}/` : name,
    linkName,
    mode,
    uid,
    gid,
    size,
    mtime,
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: NO_XATTRS,
  };
}

/** Small pieces put together. */
async function* gather(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let gathered: Buffer[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    gathered.push(piece);
    bytes += piece.length;
    if (bytes < CHUNK / 4) continue;
    yield Buffer.concat(gathered, bytes);
    gathered = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(gathered, bytes);
}

function canonical(path: string): string {
  const clean = posix.resolve("/", toBinary(path));
  return clean === "/" ? "" : clean;
}

function binarySet(paths: readonly string[] = []): ReadonlySet<string> {
  return new Set(paths.map((path) => canonical(path).slice(1)));
}
