/** Sends a tree of files into a directory of a build's client, by fsutil's protocol: what there is, then what the client asks for. */
import { constants } from "node:fs";
import { open, readlink } from "node:fs/promises";
import { join } from "node:path";
import type { ListedFile } from "../../archive/confined-root.ts";
import { type OpContext, withSignal } from "../../base/op-context.ts";
import type { RootView } from "../../build/source-trees.ts";
import { buildKitErrors } from "../errors.ts";
import type { GrpcStream } from "../grpc/client.ts";
import { Packet, packetType, type Stat } from "../wire/session.ts";
import { goMode } from "./file-mode.ts";
import { checkTaker, exporterHeader, fileSendMethod, type SendRequest } from "./file-send.ts";
import type { ClientSession } from "./sessions.ts";

type PacketStream = GrpcStream<Packet, Packet>;

/** A file whose content may be asked for, once. */
interface Offered {
  readonly path: string;
  readonly size: number;
}

/** Files that are sent beside each other: a small one need not wait for a large one. */
const parallelFiles = 4;
const pieceBytes = 256 << 10;

/** Owners become the client's own, there. Sockets are left out. */
export async function sendDirectory(
  ctx: OpContext,
  session: ClientSession,
  { root, directory }: RootView,
  { exporter, progress }: SendRequest,
): Promise<void> {
  checkTaker(session);
  const files = await root.list(ctx, "/");
  const broken = new AbortController();
  const sending = withSignal(ctx, broken.signal);
  await using stream = session.client.stream(sending, fileSendMethod, [Packet, Packet], exporterHeader(exporter));
  const offered = new Map<number, Offered>();
  const wanted = new Wanted();
  let bytes = 0;
  const sent = (count: number): void => {
    sending.signal.throwIfAborted();
    progress((bytes += count));
  };
  const answers = stream.messages[Symbol.asyncIterator]();
  const works = [
    sendStats(sending, stream, files, directory, offered),
    receiveRequests(answers, offered, wanted),
    ...Array.from({ length: parallelFiles }, () => sendWanted(stream, directory, wanted, sent)),
  ];
  // The first to fail ends the others, and nothing of it goes on behind the caller's back.
  const stop = (error: unknown): void => {
    broken.abort(error);
    wanted.end();
  };
  for (const work of works) work.catch(stop);
  await Promise.allSettled(works);
  sending.signal.throwIfAborted();
  await stream.send({ type: packetType.end });
  stream.end();
  while ((await answers.next()).done !== true);
}

async function sendStats(
  ctx: OpContext,
  stream: PacketStream,
  files: readonly ListedFile[],
  directory: string,
  offered: Map<number, Offered>,
): Promise<void> {
  const firstNames = new Map<string, string>();
  let id = 0;
  for (const file of files) {
    if (file.kind === "socket") continue;
    const stat = await statOf(file, directory, firstNames);
    if (file.kind === "file" && stat.linkname === "") offered.set(id, { path: file.path, size: file.size });
    id++;
    await stream.send({ type: packetType.stat, stat });
    ctx.signal.throwIfAborted();
  }
  await stream.send({ type: packetType.stat });
}

/** A further name of a file is a link to its first one. */
async function statOf(file: ListedFile, directory: string, firstNames: Map<string, string>): Promise<Stat> {
  const { path, kind, identity } = file;
  if (kind === "socket") throw new TypeError("a socket is not sent");
  let linkname = "";
  if (kind === "symlink") linkname = await readlink(join(directory, path));
  else if (kind === "file") {
    linkname = firstNames.get(identity) ?? "";
    if (linkname === "") firstNames.set(identity, path);
  }
  // Names are text in the protocol: what is none has lost its bytes by now.
  if (`${path}${linkname}`.includes("\uFFFD")) {
    throw buildKitErrors.BUILDKIT_SEND_FAILED({ reason: `the name ${JSON.stringify(path)} is not UTF-8` });
  }
  return {
    path,
    mode: goMode(kind, file.mode),
    uid: file.uid,
    gid: file.gid,
    size: kind === "file" && linkname === "" ? file.size : 0,
    modTime: Number(file.mtimeNs),
    linkname,
    devmajor: file.deviceMajor,
    devminor: file.deviceMinor,
    xattrs: file.capability === "" ? {} : { "security.capability": Buffer.from(file.capability, "hex") },
  };
}

/** Until the client has all that it wants. */
async function receiveRequests(
  answers: AsyncIterator<Packet>,
  offered: Map<number, Offered>,
  wanted: Wanted,
): Promise<void> {
  for (;;) {
    const { done, value } = await answers.next();
    if (done === true) throw failed("the client ended it early");
    const { type, ID, data } = value;
    if (type === packetType.end) break;
    if (type === packetType.error) throw failed(Buffer.from(data).toString("utf8"));
    const file = type === packetType.request ? offered.get(ID) : undefined;
    if (file === undefined) throw failed(`a packet of type ${type} for file ${ID} has no answer`);
    offered.delete(ID);
    wanted.add({ ...file, id: ID });
  }
  wanted.end();
}

async function sendWanted(
  stream: PacketStream,
  directory: string,
  wanted: Wanted,
  sent: (bytes: number) => void,
): Promise<void> {
  for (let file = await wanted.next(); file !== undefined; file = await wanted.next()) {
    // No link and no device: it was listed as a file, and nothing changes the tree. A surprise is an error, and no wait.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    await using handle = await open(join(directory, file.path), flags);
    for (let left = file.size; left > 0; ) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(Math.min(left, pieceBytes)));
      if (bytesRead === 0) throw failed(`${file.path} became shorter`);
      await stream.send({ type: packetType.data, ID: file.id, data: buffer.subarray(0, bytesRead) });
      sent(bytesRead);
      left -= bytesRead;
    }
    await stream.send({ type: packetType.data, ID: file.id });
  }
}

/** What the client has asked for and nobody sends yet; as many as there are files, at most. */
class Wanted {
  readonly #files: (Offered & { readonly id: number })[] = [];
  #next = 0;
  readonly #waiting: (() => void)[] = [];
  #ended = false;

  add(file: Offered & { readonly id: number }): void {
    this.#files.push(file);
    this.#waiting.shift()?.();
  }

  end(): void {
    this.#ended = true;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Undefined when nothing more comes. */
  async next(): Promise<(Offered & { readonly id: number }) | undefined> {
    while (this.#next === this.#files.length && !this.#ended) {
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    }
    return this.#ended ? undefined : this.#files[this.#next++];
  }
}

function failed(reason: string): Error {
  return buildKitErrors.BUILDKIT_SEND_FAILED({ reason });
}
