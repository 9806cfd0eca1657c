import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import type { Http2Stream } from "node:http2";
import { frame, messagesOf } from "./framing.ts";
import { decodeStatusMessage, encodeStatusMessage } from "./status.ts";

async function read(chunks: readonly Uint8Array[], limit = 100): Promise<string[]> {
  const stream = new PassThrough();
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  const found: string[] = [];
  // Of an HTTP/2 stream only what any stream has is used.
  for await (const message of messagesOf(stream as unknown as Http2Stream, limit))
    found.push(Buffer.from(message).toString());
  return found;
}

it("finds messages however the bytes are cut", async () => {
  const bytes = Buffer.concat([frame(Buffer.from("one")), frame(Buffer.alloc(0)), frame(Buffer.from("three"))]);
  expect(await read([bytes])).toEqual(["one", "", "three"]);
  expect(await read([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(["one", "", "three"]);
});

it("refuses a long message before it has come, a compressed one, and one that is cut short", async () => {
  await expect(read([Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff)])).rejects.toMatchObject({
    code: "BUILDKIT_MESSAGE_TOO_LARGE",
  });
  await expect(read([Uint8Array.of(1, 0, 0, 0, 0)])).rejects.toThrow(/compressed/);
  await expect(read([frame(Buffer.from("abc")).subarray(0, 6)])).rejects.toThrow(/ended within/);
});

it("carries any text in a status", () => {
  for (const message of ["plain", "100 % é\n\u0000", ""])
    expect(decodeStatusMessage(encodeStatusMessage(message))).toBe(message);
});
