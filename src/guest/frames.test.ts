import { expect, test } from "vitest";
import { decodeFields, encodeFields, encodeFrame, FrameReader, frameType } from "./frames.ts";

test("frames come out as they went in, however the bytes are cut", () => {
  const bytes = Buffer.concat([
    encodeFrame(1, frameType.data, Buffer.from("hello"), 2),
    encodeFrame(0xfffffffe, frameType.closed),
    encodeFrame(7, frameType.open, encodeFields([["verb", "exec"]])),
  ]);
  for (const step of [1, 7, 12, bytes.length]) {
    const reader = new FrameReader();
    const frames = [];
    for (let at = 0; at < bytes.length; at += step) frames.push(...reader.push(bytes.subarray(at, at + step)));
    expect(frames.map(({ channel, type, stream, payload }) => [channel, type, stream, payload.toString()])).toEqual([
      [1, frameType.data, 2, "hello"],
      [0xfffffffe, frameType.closed, 0, ""],
      [7, frameType.open, 0, "verb=exec\0"],
    ]);
  }
});

test("a guest that claims an absurd frame is not believed, and we send none", () => {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(64 * 1024 + 1);
  expect(() => new FrameReader().push(header)).toThrow(RangeError);
  expect(() => encodeFrame(1, frameType.data, Buffer.alloc(64 * 1024 + 1))).toThrow(RangeError);
});

test("fields: repeated names keep their order, values hold lines and equals signs", () => {
  const fields = [
    ["arg", "sh"],
    ["arg", ""],
    ["env", "A=b=c"],
    ["file", "/etc/hosts\n127.0.0.1 localhost\n"],
  ] as const;
  expect(decodeFields(encodeFields(fields))).toEqual(fields);
  expect(() => encodeFields([["arg", "a\0b"]])).toThrow(RangeError);
});
