/** Frames and fields of guest/protocol.h, which describes them. */
export const frameType = {
  hello: 1,
  open: 2,
  data: 3,
  end: 4,
  credit: 5,
  started: 6,
  exit: 7,
  reply: 8,
  error: 9,
  closed: 10,
  signal: 11,
  resize: 12,
  cancel: 13,
} as const;
export type FrameType = (typeof frameType)[keyof typeof frameType];

/** Bytes of a stream that may be under way before the first credit. */
export const frameWindow = 256 * 1024;
/** Longest payload of a frame. */
export const maxPayload = 64 * 1024;
const headerLength = 12;

export interface Frame {
  readonly channel: number;
  readonly type: number;
  /** 0 stdin, 1 stdout, 2 stderr. */
  readonly stream: number;
  readonly payload: Buffer;
}

export function encodeFrame(
  channel: number,
  type: FrameType,
  payload: Uint8Array = new Uint8Array(),
  stream = 0,
): Buffer {
  if (payload.length > maxPayload) throw new RangeError(`a frame has at most ${maxPayload} bytes`);
  const header = Buffer.alloc(headerLength);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt32LE(channel, 4);
  header.writeUInt8(type, 8);
  header.writeUInt8(stream, 9);
  return Buffer.concat([header, payload]);
}

/** Puts frames together from what arrives. The other side is a guest: a length that can't be is a RangeError. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** The frames that are complete with `bytes`. */
  push(bytes: Uint8Array): readonly Frame[] {
    this.#rest = this.#rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes]);
    const frames: Frame[] = [];
    let at = 0;
    while (this.#rest.length - at >= headerLength) {
      const length = this.#rest.readUInt32LE(at);
      if (length > maxPayload) throw new RangeError(`a frame says that it has ${length} bytes`);
      if (this.#rest.length - at < headerLength + length) break;
      frames.push({
        channel: this.#rest.readUInt32LE(at + 4),
        type: this.#rest.readUInt8(at + 8),
        stream: this.#rest.readUInt8(at + 9),
        payload: this.#rest.subarray(at + headerLength, at + headerLength + length),
      });
      at += headerLength + length;
    }
    this.#rest = this.#rest.subarray(at);
    return frames;
  }
}

/** Name and value; a name may come more than once. */
export type Field = readonly [name: string, value: string];

/** RangeError for what the form can't hold: a NUL byte anywhere, "=" in a name. */
export function encodeFields(fields: readonly Field[]): Buffer {
  for (const [name, value] of fields) {
    if (name.includes("=") || name.includes("\0") || value.includes("\0"))
      throw new RangeError(`the field ${name} has a byte that it can't have`);
  }
  return Buffer.from(fields.map(([name, value]) => `${name}=${value}\0`).join(""));
}

/** Strings without a "=" are left out. */
export function decodeFields(payload: Uint8Array): readonly Field[] {
  const strings = Buffer.from(payload).toString().split("\0").slice(0, -1);
  return strings.flatMap((string): Field[] => {
    const equals = string.indexOf("=");
    return equals === -1 ? [] : [[string.slice(0, equals), string.slice(equals + 1)]];
  });
}
