/** Unix sockets that keep packet borders (SOCK_SEQPACKET), which Node's net lacks: conmon's attach socket is one. */
import { closeSync, constants, openSync, readdirSync, readlinkSync } from "node:fs";
import { basename, dirname } from "node:path";
import { Readable } from "node:stream";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import type { OpContext } from "../base/op-context.ts";
import { errnoOf, hostErrors } from "./errors.ts";
import type { SeqpacketSocket } from "./host.ts";
import { bind, checked } from "./libc.ts";
import { DescriptorWatch } from "./poll.ts";
import { SyscallError } from "./syscall-error.ts";

const socket = bind<(domain: number, type: number, protocol: number) => number>(
  "int socket(int domain, int type, int protocol)",
);
const connect = bind<(fd: number, address: Buffer, length: number) => number>(
  "int connect(int fd, void *address, unsigned int length)",
);
const recv = bind<(fd: number, bytes: Buffer, length: number, flags: number) => number>(
  "long recv(int fd, void *bytes, size_t length, int flags)",
);
const send = bind<(fd: number, bytes: Uint8Array, length: number, flags: number) => number>(
  "long send(int fd, void *bytes, size_t length, int flags)",
);
const shutdown = bind<(fd: number, how: number) => number>("int shutdown(int fd, int how)");

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const O_PATH = 0o10000000;
const SHUT_WR = 1;
const MSG_NOSIGNAL = 0x4000;
const MSG_PEEK = 2;
const MSG_TRUNC = 0x20;
/** sizeof(sockaddr_un.sun_path). */
const maxPath = 108;
/** Twice the largest packet of conmon's; shared, since every read is synchronous. */
const packetBuffer = Buffer.allocUnsafeSlow(64 * 1024);
/** Packets taken in one turn of the event loop, so that a flood of one stream leaves room for the others. */
const packetsPerTurn = 64;
/** A listener that has nothing else to do takes a connection within a few turns. */
const acceptLooksOften = 20;

/** See {@link Sockets.connectSeqpacket}. */
export async function connectSeqpacket(ctx: OpContext, path: string, acceptedBy?: number): Promise<SeqpacketSocket> {
  ctx.signal.throwIfAborted();
  const fd = named(path, "socket", () => checked("socket", socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK_CLOEXEC, 0)));
  try {
    const before = acceptedBy === undefined ? undefined : socketsOf(acceptedBy);
    await connectTo(ctx, fd, path);
    if (acceptedBy !== undefined && before !== undefined) await accepted(ctx, { fd, path, server: acceptedBy, before });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return new LinuxSeqpacketSocket(fd, path);
}

/** The kernel connects a client long before the listener takes the connection: that is seen by its having one more socket. */
async function accepted(
  ctx: OpContext,
  connection: {
    readonly fd: number;
    readonly path: string;
    readonly server: number;
    readonly before: ReadonlySet<string>;
  },
): Promise<void> {
  const { fd, path, server, before } = connection;
  for (let look = 0; ; look++) {
    const isTaken = [...socketsOf(server)].some((name) => !before.has(name));
    // In this order: as long as the connection stands the pid was the listener's.
    if (named(path, "connect", () => hasAnswered(fd)) || isTaken) return;
    ctx.signal.throwIfAborted();
    if (look < acceptLooksOften) await nextTurn();
    else await delay(1, undefined, { signal: ctx.signal });
  }
}

/** Whether a packet, or an orderly end, is there to be received. ECONNRESET is thrown when the listener left without taking us. */
function hasAnswered(fd: number): boolean {
  try {
    checked("recv", recv(fd, Buffer.alloc(1), 1, MSG_PEEK));
    return true;
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return false;
    throw error;
  }
}

/** Names ("socket:[4711]") of the sockets that a process has; none when it is gone. */
function socketsOf(pid: number): ReadonlySet<string> {
  const directory = `/proc/${pid}/fd`;
  const names = orGone(() => readdirSync(directory)) ?? [];
  const targets = names.map((name) => orGone(() => readlinkSync(`${directory}/${name}`)) ?? "");
  return new Set(targets.filter((target) => target.startsWith("socket:")));
}

/** Undefined when the process has ended, or closed it meanwhile. */
function orGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ESRCH") return undefined;
    throw error;
  }
}

async function connectTo(ctx: OpContext, fd: number, path: string): Promise<void> {
  // A path through the directory's descriptor always fits.
  const directory = named(path, "open", () => openSync(dirname(path), O_PATH | constants.O_DIRECTORY));
  try {
    const address = socketAddress(`/proc/self/fd/${directory}/${basename(path)}`);
    for (let waitMs = 1; ; waitMs = Math.min(50, waitMs * 2)) {
      try {
        checked("connect", connect(fd, address, address.length));
        return;
      } catch (error) {
        // The listener's queue is full.
        if (!isErrno(error, "EAGAIN")) throw asSocketError(path, "connect", error);
      }
      await delay(waitMs, undefined, { signal: ctx.signal });
    }
  } finally {
    closeSync(directory);
  }
}

function socketAddress(path: string): Buffer {
  const bytes = Buffer.from(path);
  if (bytes.length >= maxPath)
    throw new SyscallError("connect", 36, `the socket's name is too long: ${basename(path)}`);
  const address = Buffer.alloc(2 + maxPath);
  address.writeUInt16LE(AF_UNIX);
  address.set(bytes, 2);
  return address.subarray(0, 2 + bytes.length + 1);
}

class LinuxSeqpacketSocket implements SeqpacketSocket {
  readonly packets: Readable;
  readonly #fd: number;
  readonly #path: string;
  readonly #watch: DescriptorWatch;
  /** Sends that wait for room, in order. */
  readonly #outbox: { readonly bytes: Uint8Array; readonly sent: PromiseWithResolvers<void> }[] = [];
  #wantsPackets = false;
  #writeEnded = false;
  #open = true;

  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.#path = path;
    this.#watch = new DescriptorWatch(fd, () => this.#onReady());
    this.packets = new Readable({
      objectMode: true,
      highWaterMark: packetsPerTurn,
      read: () => {
        this.#wantsPackets = true;
        this.#updateWatch();
      },
      destroy: (error, done) => {
        this.close();
        done(error);
      },
    });
  }

  async send(bytes: Uint8Array): Promise<void> {
    if (!this.#open || this.#writeEnded) throw asSocketError(this.#path, "send", new SyscallError("send", 32));
    if (this.#outbox.length === 0 && this.#trySend(bytes)) return;
    const sent = Promise.withResolvers<void>();
    this.#outbox.push({ bytes, sent });
    this.#updateWatch();
    await sent.promise;
  }

  shutdownWrite(): void {
    if (this.#writeEnded) return;
    this.#writeEnded = true;
    if (this.#outbox.length === 0) this.#shutdown();
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch[Symbol.dispose]();
    closeSync(this.#fd);
    const gone = asSocketError(this.#path, "send", new SyscallError("send", 32, "the socket was closed"));
    for (const { sent } of this.#outbox.splice(0)) sent.reject(gone);
    if (!this.packets.destroyed) this.packets.destroy();
  }

  #onReady(): void {
    try {
      this.#flush();
      if (this.#wantsPackets) this.#receive();
    } catch (error) {
      this.packets.destroy(asSocketError(this.#path, "recv", error));
      return;
    }
    this.#updateWatch();
  }

  #receive(): void {
    for (let count = 0; count < packetsPerTurn && this.#wantsPackets; count++) {
      const packet = receivePacket(this.#fd);
      if (packet === undefined) return;
      if (packet.length === 0) {
        this.#wantsPackets = false;
        this.packets.push(null);
        return;
      }
      this.#wantsPackets = this.packets.push(packet);
    }
  }

  #flush(): void {
    for (let first = this.#outbox[0]; first !== undefined; first = this.#outbox[0]) {
      try {
        if (!this.#trySend(first.bytes)) return;
        first.sent.resolve();
      } catch (error) {
        first.sent.reject(error);
      }
      this.#outbox.shift();
    }
    if (this.#writeEnded) this.#shutdown();
  }

  /** False when there is no room now. */
  #trySend(bytes: Uint8Array): boolean {
    try {
      checked("send", send(this.#fd, bytes, bytes.length, MSG_NOSIGNAL));
      return true;
    } catch (error) {
      if (isErrno(error, "EAGAIN")) return false;
      throw asSocketError(this.#path, "send", error);
    }
  }

  #shutdown(): void {
    try {
      checked("shutdown", shutdown(this.#fd, SHUT_WR));
    } catch (error) {
      // The other side has gone already.
      if (!isErrno(error, "ENOTCONN")) throw asSocketError(this.#path, "shutdown", error);
    }
  }

  #updateWatch(): void {
    if (this.#open) this.#watch.watch({ readable: this.#wantsPackets, writable: this.#outbox.length > 0 });
  }
}

/** Undefined when nothing is there now; empty at the end. */
function receivePacket(fd: number): Buffer | undefined {
  try {
    const length = checked("recv", recv(fd, packetBuffer, packetBuffer.length, MSG_TRUNC));
    if (length > packetBuffer.length) {
      throw new SyscallError("recv", 90, `a packet of ${length} bytes is larger than ${packetBuffer.length}`);
    }
    return Buffer.from(packetBuffer.subarray(0, length));
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return undefined;
    // The other side has closed without reading all that we sent. The kernel says so once, and before what is still to be received.
    if (isErrno(error, "ECONNRESET")) return receivePacket(fd);
    throw error;
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof SyscallError && error.code === code;
}

function named<T>(path: string, call: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asSocketError(path, call, error);
  }
}

function asSocketError(path: string, call: string, error: unknown): Error {
  if (error instanceof SyscallError) {
    return hostErrors.SOCKET_FAILED({ path, call, errno: error.code, text: error.text }, { cause: error });
  }
  if (error instanceof Error && "code" in error && typeof error.code === "string") {
    return hostErrors.SOCKET_FAILED({ path, call, errno: error.code, text: error.message }, { cause: error });
  }
  return error instanceof Error ? error : new Error(String(error));
}
