import { Readable } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";
import { hostErrors } from "../errors.ts";
import type { SeqpacketSocket, Sockets } from "../host.ts";

/** Both ends of a connection: the client's is the socket itself, the test drives the other. */
export class FakeSeqpacket implements SeqpacketSocket {
  readonly packets = new Readable({ objectMode: true, read() {} });
  readonly sent: Uint8Array[] = [];
  writeEnded = false;
  closed = false;

  /** The other side sends a packet. */
  deliver(packet: Uint8Array): void {
    this.packets.push(packet);
  }

  /** The other side closes. */
  end(): void {
    this.packets.push(null);
  }

  async send(bytes: Uint8Array): Promise<void> {
    if (this.closed || this.writeEnded) {
      throw hostErrors.SOCKET_FAILED({ path: "(fake)", call: "send", errno: "EPIPE", text: "broken pipe" });
    }
    this.sent.push(Uint8Array.from(bytes));
  }

  shutdownWrite(): void {
    this.writeEnded = true;
  }

  close(): void {
    this.closed = true;
    this.packets.destroy();
  }
}

/** `acceptedBy`: whom the client waits for. */
type Listener = (socket: FakeSeqpacket, acceptedBy: number | undefined) => void | Promise<void>;

/** Connects to listeners that the test made with {@link listen}. */
export class FakeSockets implements Sockets {
  readonly #listeners = new Map<string, Listener>();

  /** The connection is taken when `onConnection` is done, and refused when that throws. */
  listen(path: string, onConnection: Listener): void {
    this.#listeners.set(path, onConnection);
  }

  async connectSeqpacket(ctx: OpContext, path: string, acceptedBy?: number): Promise<SeqpacketSocket> {
    ctx.signal.throwIfAborted();
    const listener = this.#listeners.get(path);
    if (listener === undefined) {
      throw hostErrors.SOCKET_FAILED({ path, call: "connect", errno: "ENOENT", text: "no such file or directory" });
    }
    const socket = new FakeSeqpacket();
    await listener(socket, acceptedBy);
    return socket;
  }
}
