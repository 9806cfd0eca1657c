import { expect, test } from "vitest";
import { decompressLz4Legacy, lz4LegacyMagic } from "./lz4-legacy.ts";

/** A frame of blocks as the format has them. */
function frame(...blocks: readonly (readonly number[])[]): Buffer {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(lz4LegacyMagic);
  const parts = blocks.flatMap((block) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(block.length);
    return [length, Buffer.from(block)];
  });
  return Buffer.concat([magic, ...parts]);
}

test("literals alone, and more than fifteen of them", () => {
  const text = Buffer.from("a text of more than fifteen bytes");
  expect(decompressLz4Legacy(frame([0x30, 97, 98, 99], [0xf0, text.length - 15, ...text])).toString()).toBe(
    `abc${text.toString()}`,
  );
});

test("a match that copies, and one that overlaps itself", () => {
  // "abcd", four from four before; then "x" and nineteen of one before.
  expect(decompressLz4Legacy(frame([0x40, 97, 98, 99, 100, 4, 0, 0x1f, 120, 1, 0, 0, 0x10, 33])).toString()).toBe(
    `abcdabcd${"x".repeat(20)}!`,
  );
});

test.each([
  ["another format", Buffer.from([1, 2, 3, 4])],
  ["a block that is cut off", frame([0x30, 97, 98, 99]).subarray(0, 9)],
  ["literals beyond the end", frame([0xf0, 200, 1])],
  ["a match before the begin", frame([0x10, 97, 9, 0, 0x10, 97])],
])("%s is refused", (_, bytes) => {
  expect(() => decompressLz4Legacy(bytes)).toThrow(RangeError);
});
