/** HTTP by hand over a unix socket: what a library would hide is what is looked at. */
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

export class RawHttp implements Disposable {
  readonly socket: Socket;
  #chunks: Buffer[] = [];
  #size = 0;
  ended = false;

  constructor(path: string) {
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#size += chunk.length;
    });
    this.socket.on("end", () => {
      this.ended = true;
    });
    this.socket.on("error", () => {
      this.ended = true;
    });
  }

  /** A head's lines, then the body as it is. */
  send(head: readonly string[], body: string | Buffer = ""): void {
    this.socket.write(`${[...head, "Host: engine"].join("\r\n")}\r\n\r\n`);
    if (body.length > 0) this.socket.write(body);
  }

  get size(): number {
    return this.#size;
  }

  get received(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  get head(): string {
    return this.received.toString("latin1").split("\r\n\r\n", 1)[0] ?? "";
  }

  /** What follows the first head, chunked or not. */
  get body(): Buffer {
    return this.received.subarray(this.head.length + 4);
  }

  async until(condition: () => boolean, seconds = 30): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!condition()) {
      if (Date.now() > deadline)
        throw new Error(`nothing came of it; received ${this.received.toString("latin1").slice(0, 500)}`);
      await delay(10);
    }
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** The frames of a multiplexed stream, joined by stream. Throws where it is cut off or has an unknown one. */
export function splitFrames(bytes: Buffer): { readonly stdout: Buffer; readonly stderr: Buffer } {
  const parts: [Buffer[], Buffer[]] = [[], []];
  for (let at = 0; at < bytes.length; ) {
    const stream = bytes[at] ?? 0;
    const length = bytes.readUInt32BE(at + 4);
    const end = at + 8 + length;
    if ((stream !== 1 && stream !== 2) || bytes.readUIntBE(at + 1, 3) !== 0 || end > bytes.length)
      throw new Error(`no frame at byte ${at} of ${bytes.length}`);
    parts[stream - 1]?.push(bytes.subarray(at + 8, end));
    at = end;
  }
  return { stdout: Buffer.concat(parts[0]), stderr: Buffer.concat(parts[1]) };
}

/** A frame of a client's (RFC 6455, section 5.2), masked. `final` false: more of the message follows. */
export function webSocketFrame(opcode: number, payload: Buffer, final = true): Buffer {
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78]);
  const length =
    payload.length < 126
      ? Buffer.from([0x80 | payload.length])
      : payload.length < 65_536
        ? Buffer.from([0x80 | 126, payload.length >> 8, payload.length & 0xff])
        : Buffer.from([0x80 | 127, 0, 0, 0, 0, ...bigEndian(payload.length)]);
  const masked = payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return Buffer.concat([Buffer.from([(final ? 0x80 : 0) | opcode]), length, mask, masked]);
}

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The server's frames that are whole. */
export function webSocketFrames(bytes: Buffer): readonly { readonly opcode: number; readonly payload: Buffer }[] {
  const frames: { opcode: number; payload: Buffer }[] = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = (bytes[at + 1] ?? 0) & 0x7f;
    const extra = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (at + 2 + extra > bytes.length) break;
    const length = extra === 0 ? short : bytes.readUIntBE(at + 2 + Math.max(0, extra - 6), Math.min(extra, 6));
    const start = at + 2 + extra;
    if (start + length > bytes.length) break;
    frames.push({ opcode: (bytes[at] ?? 0) & 0x0f, payload: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return frames;
}
