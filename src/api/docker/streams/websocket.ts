/** The server's side of RFC 6455, as far as `attach/ws` needs it: one binary stream each way. */
import { createHash } from "node:crypto";
import { Duplex } from "node:stream";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { apiErrors } from "../errors.ts";

/** Fixed by RFC 6455, section 1.3. */
const keySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const maxMessage = 1024 * 1024;
const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Answers the handshake and returns a stream of what the frames carry. `binary` chooses the type of our own. */
export function acceptWebSocket(request: IncomingMessage, socket: Socket, binary: boolean): Duplex {
  const key = request.headers["sec-websocket-key"];
  if (key === undefined) throw apiErrors.API_BAD_REQUEST({ message: "Sec-WebSocket-Key is missing" });
  const accept = createHash("sha1")
    .update(key + keySuffix)
    .digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  return new WebSocketStream(socket, binary ? opcode.binary : opcode.text);
}

class WebSocketStream extends Duplex {
  readonly #socket: Socket;
  readonly #opcode: number;
  #pending: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, type: number) {
    super();
    this.#socket = socket;
    this.#opcode = type;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.once("end", () => this.push(null));
    socket.once("close", () => this.destroy());
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(frame(this.#opcode, chunk), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    // 1000: a normal end.
    this.#socket.end(frame(opcode.close, Buffer.from([0x03, 0xe8])), () => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #receive(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (let next = parseFrame(this.#pending); next !== undefined; next = parseFrame(this.#pending)) {
      if (next === "bad") {
        this.destroy();
        return;
      }
      this.#pending = this.#pending.subarray(next.size);
      this.#handle(next.opcode, next.payload);
    }
  }

  #handle(type: number, payload: Buffer): void {
    switch (type) {
      case opcode.continuation:
      case opcode.text:
      case opcode.binary:
        if (!this.push(payload)) this.#socket.pause();
        return;
      case opcode.ping:
        this.#socket.write(frame(opcode.pong, payload));
        return;
      case opcode.close:
        this.push(null);
        this.end();
        return;
      default:
        // A pong, or a type of the future.
        return;
    }
  }
}

interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
  /** Bytes of the whole frame. */
  readonly size: number;
}

/** The first frame of `bytes`; undefined when it isn't complete. Clients must mask theirs (section 5.1). */
function parseFrame(bytes: Buffer): Frame | "bad" | undefined {
  if (bytes.length < 2) return undefined;
  const first = bytes[0] ?? 0;
  const second = bytes[1] ?? 0;
  if ((second & 0x80) === 0) return "bad";
  const short = second & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  const start = 2 + lengthBytes + 4;
  if (bytes.length < start) return undefined;
  const length =
    lengthBytes === 0 ? short : lengthBytes === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (length > maxMessage) return "bad";
  if (bytes.length < start + length) return undefined;
  const mask = bytes.subarray(start - 4, start);
  const payload = Buffer.from(bytes.subarray(start, start + length));
  for (let index = 0; index < payload.length; index += 1)
    payload[index] = (payload[index] ?? 0) ^ (mask[index % 4] ?? 0);
  return { opcode: first & 0x0f, payload, size: start + length };
}

function frame(type: number, payload: Buffer): Buffer {
  const length = payload.length;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x80 | type;
  if (length < 126) head[1] = length;
  else if (length < 65_536) {
    head[1] = 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, payload]);
}
