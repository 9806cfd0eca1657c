/**
 * Protocol Buffers messages as data: a field is a number and a codec, a message's TypeScript type follows from its fields. What
 * a message here doesn't name is skipped, as the format wants it. Bytes are read and written by @bufbuild/protobuf.
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { messageOf } from "../../base/errors.ts";
import { buildKitErrors } from "../errors.ts";

/** How a field's value is read and written. `before` is what earlier occurrences of the field came to. */
export interface Codec<T> {
  readonly wire: WireType;
  initial(): T;
  read(reader: BinaryReader, before: T): T;
  /** Writes nothing for a value that is the field's default. */
  write(writer: BinaryWriter, number: number, value: T): void;
  /** Whether an element of a list must be written even when it is the default. */
  writeAlways(writer: BinaryWriter, number: number, value: T): void;
}

type Fields = Readonly<Record<string, readonly [number: number, codec: Codec<unknown>]>>;
type Value<F> = { readonly [K in keyof F]: F[K] extends readonly [number, Codec<infer T>] ? T : never };

export interface Message<T> {
  decode(bytes: Uint8Array): T;
  /** Fields that are left out have their default. */
  encode(value: Partial<T>): Uint8Array;
}

export type Decoded<M> = M extends Message<infer T> ? T : never;

export function message<const F extends Fields>(fields: F): Message<Value<F>> {
  const byNumber = new Map(Object.entries(fields).map(([name, [number, codec]]) => [number, { name, codec }]));
  return {
    decode: (bytes) => {
      const values: Record<string, unknown> = {};
      for (const [name, [, codec]] of Object.entries(fields)) values[name] = codec.initial();
      try {
        readFields(new BinaryReader(bytes), byNumber, values);
      } catch (error) {
        throw buildKitErrors.BUILDKIT_MESSAGE_INVALID({ reason: messageOf(error) }, { cause: error });
      }
      return values as Value<F>;
    },
    encode: (value) => {
      const writer = new BinaryWriter();
      for (const [name, [number, codec]] of Object.entries(fields)) {
        const field: unknown = Object.hasOwn(value, name) ? value[name as keyof typeof value] : undefined;
        if (field !== undefined) codec.write(writer, number, field);
      }
      return writer.finish();
    },
  };
}

function readFields(
  reader: BinaryReader,
  byNumber: ReadonlyMap<number, { readonly name: string; readonly codec: Codec<unknown> }>,
  values: Record<string, unknown>,
): void {
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    const field = byNumber.get(number);
    if (field === undefined || field.codec.wire !== wire) reader.skip(wire, number);
    else values[field.name] = field.codec.read(reader, values[field.name]);
  }
}

function scalar<T>(
  wire: WireType,
  zero: T,
  read: (reader: BinaryReader) => T,
  write: (writer: BinaryWriter, value: T) => void,
  isZero: (value: T) => boolean = (value) => value === zero,
): Codec<T> {
  const writeAlways = (writer: BinaryWriter, number: number, value: T): void => write(writer.tag(number, wire), value);
  return {
    wire,
    initial: () => zero,
    read,
    write: (writer, number, value) => {
      if (!isZero(value)) writeAlways(writer, number, value);
    },
    writeAlways,
  };
}

export const text: Codec<string> = scalar(
  WireType.LengthDelimited,
  "",
  (reader) => reader.string(),
  (writer, value) => void writer.string(value),
);

export const bytes: Codec<Uint8Array> = scalar(
  WireType.LengthDelimited,
  new Uint8Array(),
  (reader) => reader.bytes(),
  (writer, value) => void writer.bytes(value),
  (value) => value.length === 0,
);

export const flag: Codec<boolean> = scalar(
  WireType.Varint,
  false,
  (reader) => reader.bool(),
  (writer, value) => void writer.bool(value),
);

/** uint32, and enumerations. */
export const count: Codec<number> = scalar(
  WireType.Varint,
  0,
  (reader) => reader.uint32(),
  (writer, value) => void writer.uint32(value),
);

/** int32 and int64; beyond 2^53 precision is lost, which no size or time here comes to. */
export const integer: Codec<number> = scalar(
  WireType.Varint,
  0,
  (reader) => Number(reader.int64()),
  (writer, value) => void writer.int64(value),
);

/** Undefined when it is absent. */
export function nested<T>(of: Message<T>): Codec<(Partial<T> & T) | undefined> {
  const writeAlways = (writer: BinaryWriter, number: number, value: T | undefined): void => {
    if (value !== undefined) writer.tag(number, WireType.LengthDelimited).bytes(of.encode(value));
  };
  return {
    wire: WireType.LengthDelimited,
    initial: () => undefined,
    read: (reader) => of.decode(reader.bytes()),
    write: writeAlways,
    writeAlways,
  };
}

export function list<T>(of: Codec<T>): Codec<readonly T[]> {
  const write = (writer: BinaryWriter, number: number, values: readonly T[]): void => {
    for (const value of values) of.writeAlways(writer, number, value);
  };
  return {
    wire: of.wire,
    initial: () => [],
    read: (reader, before) => {
      // The list is the decoder's own until the message is whole.
      const values = before.length === 0 ? [] : (before as T[]);
      values.push(of.read(reader, of.initial()));
      return values;
    },
    write,
    writeAlways: write,
  };
}

/** Lists of messages: each is there. */
export function listOf<T>(of: Message<T>): Codec<readonly Partial<T>[]> {
  return list<Partial<T>>({
    wire: WireType.LengthDelimited,
    initial: () => ({}),
    read: (reader) => of.decode(reader.bytes()),
    write: (writer, number, value) => void writer.tag(number, WireType.LengthDelimited).bytes(of.encode(value)),
    writeAlways: (writer, number, value) => void writer.tag(number, WireType.LengthDelimited).bytes(of.encode(value)),
  });
}

/** `map<string, T>`. */
export function map<T>(of: Codec<T>): Codec<Readonly<Record<string, T>>> {
  const entry = message({ key: [1, text], value: [2, of] });
  const write = (writer: BinaryWriter, number: number, values: Readonly<Record<string, T>>): void => {
    for (const [key, value] of Object.entries(values)) {
      writer.tag(number, WireType.LengthDelimited).bytes(entry.encode({ key, value }));
    }
  };
  return {
    wire: WireType.LengthDelimited,
    initial: () => Object.create(null) as Record<string, T>,
    read: (reader, before) => {
      const { key, value } = entry.decode(reader.bytes()) as { readonly key: string; readonly value: T };
      (before as Record<string, T>)[key] = value;
      return before;
    },
    write,
    writeAlways: write,
  };
}
