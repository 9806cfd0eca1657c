/** Takes a directory from a build's client, by fsutil's protocol, as a tar: what the builder does with contexts it does with any tar. */
import { posix } from "node:path";
import { NO_XATTRS, type TarEntry, toBinary } from "../../archive/tar-entry.ts";
import { encodeEntry, END_OF_ARCHIVE, roundUp } from "../../archive/tar-writer.ts";
import type { OpContext } from "../../base/op-context.ts";
import { buildKitErrors } from "../errors.ts";
import type { GrpcStream } from "../grpc/client.ts";
import { Packet, packetType, type Stat } from "../wire/session.ts";
import { fileKind, permissions } from "./file-mode.ts";
import type { ClientSession } from "./sessions.ts";

export interface SyncRequest {
  /** As the client calls it: "context", "dockerfile". */
  readonly name: string;
  /** In .dockerignore's syntax. */
  readonly excludePatterns?: readonly string[];
  /** Nothing but these files, and what they are links to. */
  readonly followPaths?: readonly string[];
  /** Told of all bytes that have come so far. */
  readonly progress?: (bytes: number) => void;
}

export const diffCopyMethod = "/moby.filesync.v1.FileSync/DiffCopy";

const entryLimit = 1 << 20;
/** Files asked for ahead of the one that is being written, and how much they may hold together. */
const windowFiles = 64;
const windowBytes = 4 << 20;

/** Paths are refused that would lead out; where links lead is for whoever unpacks to mind. */
export async function* syncedTar(ctx: OpContext, session: ClientSession, request: SyncRequest): AsyncGenerator<Buffer> {
  await using stream = openSync(ctx, session, request);
  const packets = new Packets(stream, request.progress);
  const entries = await readEntries(packets);
  const contents = new Contents(entries, packets);
  for (const [id, stat] of entries.entries()) {
    const entry = tarEntry(stat);
    if (entry === undefined) continue;
    yield encodeEntry(entry);
    if (entry.type !== "file" || entry.size === 0) continue;
    yield* contents.of(id, entry.size);
    const padding = roundUp(entry.size) - entry.size;
    if (padding > 0) yield Buffer.alloc(padding);
  }
  yield END_OF_ARCHIVE;
  await endSync(stream, packets);
}

/** A few small files by their paths, links followed; those that are not there are left out. */
export async function syncedFiles(
  ctx: OpContext,
  session: ClientSession,
  request: SyncRequest,
  limit: number,
): Promise<ReadonlyMap<string, Buffer>> {
  const { followPaths = [] } = request;
  await using stream = openSync(ctx, session, request);
  const packets = new Packets(stream, request.progress);
  const entries = await readEntries(packets);
  const contents = new Contents(entries, packets);
  const found = new Map<string, Buffer>();
  const links = new Map<string, string>();
  for (const [id, stat] of entries.entries()) {
    const entry = tarEntry(stat);
    const path = posix.normalize(stat.path);
    if (entry?.type === "symlink" || entry?.type === "hardlink") {
      const directory = entry.type === "symlink" ? posix.dirname(path) : "/";
      links.set(path, posix.resolve("/", directory, stat.linkname).slice(1));
    }
    if (entry?.type !== "file") continue;
    if (entry.size > limit) throw invalid(`${path} is larger than ${limit} bytes`);
    const pieces: Buffer[] = [];
    if (entry.size > 0) for await (const piece of contents.of(id, entry.size)) pieces.push(piece);
    found.set(path, Buffer.concat(pieces));
  }
  await endSync(stream, packets);
  return new Map(
    followPaths.flatMap((path) => {
      let at = posix.normalize(path);
      for (let steps = 0; steps < 40 && links.has(at); steps++) at = links.get(at) ?? at;
      const content = found.get(at);
      return content === undefined ? [] : [[path, content] as const];
    }),
  );
}

function openSync(ctx: OpContext, session: ClientSession, request: SyncRequest): GrpcStream<Packet, Packet> {
  const { name, excludePatterns = [], followPaths = [] } = request;
  return session.client.stream(ctx, diffCopyMethod, [Packet, Packet], {
    "dir-name": [name],
    ...(excludePatterns.length === 0 ? {} : { "exclude-patterns": excludePatterns }),
    ...(followPaths.length === 0 ? {} : { followpaths: followPaths }),
  });
}

/** Says that all is here, and hears that the other side knows. */
async function endSync(stream: GrpcStream<Packet, Packet>, packets: Packets): Promise<void> {
  await stream.send({ type: packetType.end });
  while ((await packets.next()).type !== packetType.end);
  stream.end();
}

class Packets {
  readonly #stream: GrpcStream<Packet, Packet>;
  readonly #iterator: AsyncIterator<Packet>;
  readonly #progress: ((bytes: number) => void) | undefined;
  #bytes = 0;

  constructor(stream: GrpcStream<Packet, Packet>, progress: ((bytes: number) => void) | undefined) {
    this.#stream = stream;
    this.#iterator = stream.messages[Symbol.asyncIterator]();
    this.#progress = progress;
  }

  async next(): Promise<Packet> {
    const { done, value } = await this.#iterator.next();
    if (done === true) throw invalid("the client ended the transfer early");
    if (value.type === packetType.error) throw invalid(Buffer.from(value.data).toString("utf8"));
    this.#bytes += value.data.length + (value.stat?.path.length ?? 0);
    this.#progress?.(this.#bytes);
    return value;
  }

  async request(id: number): Promise<void> {
    await this.#stream.send({ type: packetType.request, ID: id });
  }
}

/** A file's number is its place in this list. */
async function readEntries(packets: Packets): Promise<readonly Stat[]> {
  const entries: Stat[] = [];
  for (;;) {
    const { type, stat } = await packets.next();
    if (type !== packetType.stat) throw invalid(`a packet of type ${type} came before the list of files was whole`);
    if (stat === undefined) return entries;
    checkPath(stat.path);
    if (stat.size < 0) throw invalid(`${stat.path} has a negative size`);
    if (stat.linkname !== "" && fileKind(stat.mode) === "file") checkPath(stat.linkname);
    if (entries.push(stat) > entryLimit) throw invalid(`there are more than ${entryLimit} files`);
  }
}

function checkPath(path: string): void {
  const clean = posix.normalize(path).replace(/\/$/, "");
  const words = clean.split("/");
  if (
    clean === "" ||
    clean === "." ||
    clean.startsWith("/") ||
    words.includes("..") ||
    path.includes("\0") ||
    path.length > 4096
  ) {
    throw invalid(`${JSON.stringify(path.slice(0, 200))} is no path inside the directory`);
  }
}

/** The files' bytes in order, while those of the next ones are already on their way. */
class Contents {
  readonly #packets: Packets;
  readonly #wanted: readonly { readonly id: number; readonly size: number }[];
  readonly #arrived = new Map<
    number,
    { readonly pieces: Uint8Array[]; received: number; complete: boolean; readonly size: number }
  >();
  #asked = 0;
  #ahead = 0;

  constructor(entries: readonly Stat[], packets: Packets) {
    this.#packets = packets;
    this.#wanted = entries.flatMap((stat, id) => {
      const entry = tarEntry(stat);
      return entry?.type === "file" && entry.size > 0 ? [{ id, size: entry.size }] : [];
    });
  }

  /** Exactly `size` bytes: what a file has grown by is left, one that shrank is an error. */
  async *of(id: number, size: number): AsyncGenerator<Buffer> {
    await this.#askAhead();
    const file = this.#arrived.get(id);
    if (file === undefined) throw invalid("a file was asked for out of order");
    for (;;) {
      for (const piece of file.pieces.splice(0)) yield Buffer.from(piece.buffer, piece.byteOffset, piece.length);
      if (file.complete) break;
      await this.#receive();
    }
    this.#arrived.delete(id);
    this.#ahead -= size;
    if (file.received < size) throw invalid(`a file of ${size} bytes became shorter while it was sent`);
  }

  async #askAhead(): Promise<void> {
    for (;;) {
      const next = this.#wanted[this.#asked];
      if (next === undefined) return;
      const full = this.#arrived.size >= windowFiles || this.#ahead + next.size > windowBytes;
      if (this.#arrived.size > 0 && full) return;
      this.#asked++;
      this.#ahead += next.size;
      this.#arrived.set(next.id, { pieces: [], received: 0, complete: false, size: next.size });
      await this.#packets.request(next.id);
    }
  }

  async #receive(): Promise<void> {
    const { type, ID, data } = await this.#packets.next();
    const file = type === packetType.data ? this.#arrived.get(ID) : undefined;
    if (file === undefined || file.complete) throw invalid(`a packet of type ${type} for file ${ID} was not asked for`);
    if (data.length === 0) file.complete = true;
    const piece = data.subarray(0, file.size - file.received);
    file.received += piece.length;
    if (piece.length > 0) file.pieces.push(piece);
  }
}

/** Undefined for what has no place in an image. */
function tarEntry(stat: Stat): TarEntry | undefined {
  const kind = fileKind(stat.mode);
  if (kind === "other") return undefined;
  const type = kind === "file" && stat.linkname !== "" ? "hardlink" : kind;
  return {
    type,
    name: toBinary(type === "directory" ? `${stat.path}/` : stat.path),
    linkName: type === "hardlink" || type === "symlink" ? toBinary(stat.linkname) : "",
    mode: permissions(stat.mode),
    uid: stat.uid,
    gid: stat.gid,
    size: type === "file" ? stat.size : 0,
    mtime: { seconds: Math.floor(stat.modTime / 1e9), nanoseconds: 0 },
    deviceMajor: stat.devmajor,
    deviceMinor: stat.devminor,
    xattrs: NO_XATTRS,
  };
}

function invalid(reason: string): Error {
  return buildKitErrors.BUILDKIT_TRANSFER_INVALID({ reason });
}
