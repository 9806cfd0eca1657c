import { closeSync } from "node:fs";
import { bind, checked } from "../libc.ts";
import { SyscallError } from "../syscall-error.ts";
import {
  attributesOf,
  decodeMessages,
  encodeMessage,
  type IncomingMessage,
  NLM_F_ACK,
  NLM_F_REQUEST,
  NLM_F_ROOT_MATCH,
  type OutgoingMessage,
  textOf,
} from "./message.ts";

const socket = bind<(domain: number, type: number, protocol: number) => number>(
  "int socket(int domain, int type, int protocol)",
);
const setsockopt = bind<(fd: number, level: number, name: number, value: Buffer, length: number) => number>(
  "int setsockopt(int fd, int level, int name, void *value, unsigned int length)",
);
const send = bind<(fd: number, bytes: Buffer, length: number, flags: number) => number>(
  "long send(int fd, void *bytes, size_t length, int flags)",
);
const recv = bind<(fd: number, bytes: Buffer, length: number, flags: number) => number>(
  "long recv(int fd, void *bytes, size_t length, int flags)",
);

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const MSG_TRUNC = 0x20;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;

/** Longer than any answer of the kernel takes; a lost one must not block the worker for ever. */
const timeoutSeconds = 10;

/** Dumps come in datagrams of at most 32 KiB. One buffer serves the thread: every exchange is synchronous. */
const datagram = Buffer.allocUnsafeSlow(64 * 1024);

/** A socket to one of the kernel's netlink families, in the network namespace that the thread is in when it is made. */
export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  #sequence = 1;

  constructor(protocol: number) {
    this.#fd = checked("socket", socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol));
    const timeout = Buffer.alloc(16);
    timeout.writeBigInt64LE(BigInt(timeoutSeconds));
    setsockopt(this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length);
    const one = Buffer.from(Uint32Array.of(1).buffer);
    setsockopt(this.#fd, SOL_NETLINK, NETLINK_CAP_ACK, one, one.length);
    setsockopt(this.#fd, SOL_NETLINK, NETLINK_EXT_ACK, one, one.length);
  }

  /** Sends all messages at once and waits for each one's acknowledgement. Throws the first failure in order. */
  request(what: string, messages: readonly OutgoingMessage[]): void {
    const errors = this.requestEach(what, messages);
    const first = errors.find((error) => error !== undefined);
    if (first !== undefined) throw first;
  }

  /** The same, with each message's error in its place. */
  requestEach(what: string, messages: readonly OutgoingMessage[]): readonly (SyscallError | undefined)[] {
    const first = this.#send(
      messages.map((message) => ({ ...message, flags: message.flags | NLM_F_REQUEST | NLM_F_ACK })),
    );
    const errors: (SyscallError | undefined)[] = messages.map(() => undefined);
    const waiting = new Set(messages.keys());
    while (waiting.size > 0) {
      for (const reply of this.#receive()) {
        if (reply.type !== NLMSG_ERROR) continue;
        const index = reply.sequence - first;
        if (waiting.delete(index)) errors[index] = errorOf(what, reply);
      }
    }
    return errors;
  }

  /** Sends one message and answers with what it asks for: a single object. */
  get(what: string, message: OutgoingMessage): IncomingMessage {
    const sequence = this.#send([{ ...message, flags: message.flags | NLM_F_REQUEST }]);
    for (;;) {
      for (const reply of this.#receive()) {
        if (reply.sequence !== sequence) continue;
        if (reply.type !== NLMSG_ERROR) return { ...reply, body: Buffer.from(reply.body) };
        throw errorOf(what, reply) ?? new SyscallError(what, 0);
      }
    }
  }

  /** All objects of a kind; asked anew when they changed while the kernel listed them. */
  dump(what: string, message: OutgoingMessage): readonly IncomingMessage[] {
    for (;;) {
      const found = this.#dumpOnce(what, message);
      if (found !== undefined) return found;
    }
  }

  /** Sends bytes that frame their own messages (an nfnetlink batch); `sequences` are consecutive from the answer on. */
  sendBatch(messages: readonly OutgoingMessage[]): number {
    return this.#send(messages.map((message) => ({ ...message, flags: message.flags | NLM_F_REQUEST })));
  }

  /** The next datagram's acknowledgements: sequence number and error. */
  acknowledgements(what: string): readonly { readonly sequence: number; readonly error: SyscallError | undefined }[] {
    return [...this.#receive()]
      .filter((reply) => reply.type === NLMSG_ERROR)
      .map((reply) => ({ sequence: reply.sequence, error: errorOf(what, reply) }));
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #dumpOnce(what: string, message: OutgoingMessage): readonly IncomingMessage[] | undefined {
    const sequence = this.#send([{ ...message, flags: message.flags | NLM_F_REQUEST | NLM_F_ROOT_MATCH }]);
    const found: IncomingMessage[] = [];
    let interrupted = false;
    for (;;) {
      for (const reply of this.#receive()) {
        if (reply.sequence !== sequence) continue;
        interrupted ||= (reply.flags & NLM_F_DUMP_INTR) !== 0;
        if (reply.type === NLMSG_ERROR) throw errorOf(what, reply) ?? new SyscallError(what, 0);
        if (reply.type === NLMSG_DONE) return interrupted ? undefined : found;
        found.push({ ...reply, body: Buffer.from(reply.body) });
      }
    }
  }

  #send(messages: readonly OutgoingMessage[]): number {
    const first = this.#sequence;
    const bytes = Buffer.concat(messages.map((message) => encodeMessage(message, this.#sequence++)));
    checked("send", send(this.#fd, bytes, bytes.length, 0));
    return first;
  }

  /** Views into the shared buffer: valid until the next call of any socket. */
  *#receive(): Generator<IncomingMessage> {
    const length = checked("recv", recv(this.#fd, datagram, datagram.length, MSG_TRUNC));
    if (length > datagram.length) throw new Error(`netlink datagram of ${length} bytes was cut off`);
    yield* decodeMessages(datagram.subarray(0, length));
  }
}

/** The error that an acknowledgement carries, in the kernel's own words where it has some; undefined for success. */
function errorOf(what: string, reply: IncomingMessage): SyscallError | undefined {
  const number = -reply.body.readInt32LE(0);
  if (number === 0) return undefined;
  if ((reply.flags & NLM_F_ACK_TLVS) === 0) return new SyscallError(what, number);
  const echoed = (reply.flags & NLM_F_CAPPED) !== 0 ? 16 : (reply.body.readUInt32LE(4) + 3) & ~3;
  const words = textOf(attributesOf(reply.body, 4 + echoed).get(NLMSGERR_ATTR_MSG));
  return words === "" ? new SyscallError(what, number) : new SyscallError(what, number, words);
}
