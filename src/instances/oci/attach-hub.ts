import { Readable, Writable } from "node:stream";
import type { SeqpacketSocket } from "../../host/host.ts";
import type { OutputFrame, TaskIo } from "../driver.ts";

export interface HubOptions {
  readonly stdin: boolean;
  /** The end of a client's stdin is passed on; else only the client leaves. */
  readonly endsStdin: boolean;
  /** Called once, when the connection is gone. */
  readonly onClosed: () => void;
}

/** conmon marks each packet of output with the stream that it comes from (its stdpipe_t). */
const streams: ReadonlyMap<number, OutputFrame["stream"]> = new Map([
  [2, "stdout"],
  [3, "stderr"],
]);
/** conmon reads no more than this of a packet. */
const packetBytes = 8192;
/** Frames that wait for a slow client before the process itself is held up, as behind a full pipe. */
const framesAhead = 64;

/**
 * One connection to a conmon's attach socket, shared by all clients of a process: conmon takes the end of *any* connection for
 * the end of stdin, so that clients which only look on have to come and go without it.
 */
export class AttachHub {
  readonly #socket: SeqpacketSocket;
  readonly #options: HubOptions;
  readonly #clients = new Set<Readable>();
  readonly #slow = new Set<Readable>();
  #closed = false;

  constructor(socket: SeqpacketSocket, options: HubOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.packets.on("data", (packet: Uint8Array) => this.#deliver(packet));
    socket.packets.on("end", () => this.#close());
    // However the connection ends, the process's output has.
    socket.packets.on("error", () => this.#close());
    socket.packets.on("close", () => this.#close());
  }

  attach(): TaskIo {
    const output: Readable = new Readable({
      objectMode: true,
      highWaterMark: framesAhead,
      read: () => this.#caughtUp(output),
      destroy: (error, done) => {
        this.#leave(output);
        done(error);
      },
    });
    if (this.#closed) output.push(null);
    else this.#clients.add(output);
    return {
      output,
      stdin: this.#options.stdin ? this.#stdin() : undefined,
      detach: () => {
        this.#leave(output);
        if (!output.destroyed) output.push(null);
      },
    };
  }

  /** Drops the connection; the process goes on. */
  close(): void {
    this.#close();
  }

  #deliver(packet: Uint8Array): void {
    const stream = streams.get(packet[0] ?? 0);
    if (stream === undefined) return;
    const frame: OutputFrame = { stream, data: packet.subarray(1) };
    for (const client of this.#clients) if (!client.push(frame)) this.#slow.add(client);
    if (this.#slow.size > 0) this.#socket.packets.pause();
  }

  #caughtUp(client: Readable): void {
    if (this.#slow.delete(client) && this.#slow.size === 0) this.#socket.packets.resume();
  }

  #leave(client: Readable): void {
    if (!this.#clients.delete(client)) return;
    this.#caughtUp(client);
    const holdsStdin = this.#options.stdin && this.#options.endsStdin;
    if (this.#clients.size === 0 && !holdsStdin) this.close();
  }

  #stdin(): Writable {
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        // A process that has ended reads no more: what is sent to it is lost, as in a pipe, and no fault of the client's.
        void this.#send(chunk)
          .catch(() => {})
          .finally(done);
      },
      final: (done) => {
        if (this.#options.endsStdin && !this.#closed) this.#socket.shutdownWrite();
        done();
      },
    });
  }

  async #send(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length && !this.#closed; at += packetBytes) {
      await this.#socket.send(chunk.subarray(at, at + packetBytes));
    }
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
    for (const client of this.#clients) if (!client.destroyed) client.push(null);
    this.#clients.clear();
    this.#slow.clear();
    this.#options.onClosed();
  }
}
