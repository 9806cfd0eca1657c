import { expect, test } from "vitest";
import { patchBootCode, placeCore } from "./boot-loader.ts";

test("the boot code loads the core from its sector, from the drive that the firmware names", () => {
  const code = patchBootCode(Buffer.alloc(512, 0xaa), 2048);
  expect(code).toHaveLength(440);
  expect(code.readBigUInt64LE(0x5c)).toBe(2048n);
  expect([code[0x64], code[0x66], code[0x67]]).toEqual([0xff, 0x90, 0x90]);
});

test("the core's first sector finds the others behind it", () => {
  const core = placeCore(Buffer.alloc(512 * 3 + 1, 0x11), 2048);
  expect(core).toHaveLength(512 * 4);
  expect([core.readBigUInt64LE(500), core.readUInt16LE(508), core.readUInt16LE(510)]).toEqual([2049n, 3, 0x820]);
  expect(core.subarray(512, 512 * 3).every((byte) => byte === 0x11)).toBe(true);
});
