import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { extractPvhKernel } from "./pvh-kernel.ts";

const note = Buffer.concat([Buffer.from([4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0]), Buffer.from("Xen\0"), Buffer.alloc(8)]);
const elf = Buffer.concat([Buffer.from("\x7fELF"), Buffer.alloc(5000, 7), note]);

/** A bzImage with two sectors of set-up code around `payload`. */
function bzImage(payload: Buffer): Buffer {
  const setup = Buffer.alloc(3 * 512);
  setup.writeUInt8(2, 0x1f1);
  setup.write("HdrS", 0x202, "latin1");
  setup.writeUInt16LE(0x020f, 0x206);
  setup.writeUInt32LE(64, 0x248);
  setup.writeUInt32LE(payload.length + 4, 0x24c);
  const size = Buffer.alloc(4);
  return Buffer.concat([setup, Buffer.alloc(64), payload, size, Buffer.alloc(100)]);
}

test.each([
  ["gzip", gzipSync(elf)],
  ["zstd", zstdCompressSync(elf)],
])("a kernel compressed with %s comes out as it was", async (_, payload) => {
  expect(await extractPvhKernel(bzImage(payload))).toEqual(elf);
});

test.each([
  ["no bzImage", Buffer.alloc(4096), /it is no bzImage/],
  ["cut off", bzImage(gzipSync(elf)).subarray(0, 1600), /it is cut off/],
  ["compressed otherwise", bzImage(Buffer.from("BZh91AY")), /compression \(425a6839\) is not known/],
  ["without a PVH entry", bzImage(gzipSync(Buffer.from("\x7fELF with nothing in it"))), /without a PVH entry/],
  ["no ELF file", bzImage(gzipSync(Buffer.from("text"))), /no ELF file/],
])("one that is %s is refused with the reason", async (_, image, message) => {
  await expect(extractPvhKernel(image)).rejects.toThrow(message);
});
