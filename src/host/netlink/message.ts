/**
 * Netlink's wire format (netlink(7)): messages of a header, a family's own header and attributes.
 * Numbers are in the machine's byte order, little-endian on every machine that Berth runs on, unless a name says BE.
 */

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_ROOT_MATCH = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const HEADER = 16;

/** A message before it has its sequence number. */
export interface OutgoingMessage {
  readonly type: number;
  readonly flags: number;
  /** The family's header and attributes. */
  readonly body: Buffer;
}

export interface IncomingMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Buffer;
}

export function encodeMessage(message: OutgoingMessage, sequence: number): Buffer {
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(HEADER + message.body.length, 0);
  header.writeUInt16LE(message.type, 4);
  header.writeUInt16LE(message.flags, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, padded(message.body)]);
}

/** The messages in one received datagram. */
export function* decodeMessages(datagram: Buffer): Generator<IncomingMessage> {
  let offset = 0;
  while (offset + HEADER <= datagram.length) {
    const length = datagram.readUInt32LE(offset);
    if (length < HEADER || offset + length > datagram.length) {
      throw new Error(`netlink message of ${length} bytes at ${offset} in a datagram of ${datagram.length}`);
    }
    yield {
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      sequence: datagram.readUInt32LE(offset + 8),
      body: datagram.subarray(offset + HEADER, offset + length),
    };
    offset += align(length);
  }
}

/** One attribute with its padding. */
export function attribute(type: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(align(4 + payload.length));
  bytes.writeUInt16LE(4 + payload.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(payload, 4);
  return bytes;
}

export function nested(type: number, ...attributes: readonly Buffer[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

export function u8(type: number, value: number): Buffer {
  return attribute(type, Uint8Array.of(value));
}

export function u32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return attribute(type, bytes);
}

export function u32BE(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return attribute(type, bytes);
}

/** A string with its final NUL. */
export function text(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`));
}

/** Attributes by type, from `offset` on. Of repeated ones the last counts. */
export function attributesOf(bytes: Buffer, offset = 0): ReadonlyMap<number, Buffer> {
  return new Map(attributeList(bytes, offset));
}

/** Attributes in order. */
export function* attributeList(bytes: Buffer, offset = 0): Generator<[type: number, payload: Buffer]> {
  let at = offset;
  while (at + 4 <= bytes.length) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) return;
    yield [bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK, bytes.subarray(at + 4, at + length)];
    at += align(length);
  }
}

/** A string attribute without its final NUL. */
export function textOf(payload: Buffer | undefined): string {
  if (payload === undefined) return "";
  const end = payload.indexOf(0);
  return payload.toString("utf8", 0, end < 0 ? payload.length : end);
}

function align(length: number): number {
  return (length + 3) & ~3;
}

function padded(bytes: Buffer): Buffer {
  const missing = align(bytes.length) - bytes.length;
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)]);
}
