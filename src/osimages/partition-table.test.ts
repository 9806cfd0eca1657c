import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { encodePartitionTable, headSectors, sectorSize, tailSectors } from "./partition-table.ts";

const sectors = 8192;
const table = () => {
  let count = 0;
  return encodePartitionTable({
    sectors,
    partitions: [
      { kind: "bios", name: "bios", first: 2048, last: 4095 },
      { kind: "root", name: "root", first: 4096, last: 6143 },
    ],
    bootCode: Buffer.alloc(440, 0x90),
    newGuid: () => `01020304-0506-0708-090a-${String(++count).padStart(12, "0")}`,
  });
};

test("both headers are whole, name each other, and agree about the entries", () => {
  const { head, tail } = table();
  expect(head).toHaveLength(headSectors * sectorSize);
  expect(tail).toHaveLength(tailSectors * sectorSize);
  const first = head.subarray(sectorSize, 2 * sectorSize);
  const last = tail.subarray(tail.length - sectorSize);
  for (const header of [first, last]) {
    expect(header.toString("latin1", 0, 8)).toBe("EFI PART");
    const unsigned = Buffer.from(header.subarray(0, 92));
    unsigned.writeUInt32LE(0, 16);
    expect(header.readUInt32LE(16)).toBe(crc32(unsigned));
  }
  expect([first.readBigUInt64LE(24), first.readBigUInt64LE(32), first.readBigUInt64LE(72)]).toEqual([1n, 8191n, 2n]);
  expect([last.readBigUInt64LE(24), last.readBigUInt64LE(32), last.readBigUInt64LE(72)]).toEqual([8191n, 1n, 8159n]);
  const entries = head.subarray(2 * sectorSize);
  expect(tail.subarray(0, entries.length)).toEqual(entries);
  expect(first.readUInt32LE(88)).toBe(crc32(entries));
  expect(first.readBigUInt64LE(48)).toBe(8158n);
});

test("an entry has its type in the mixed byte order of GUIDs, both ends, and its name", () => {
  const { head } = table();
  const entry = head.subarray(2 * sectorSize + 128, 2 * sectorSize + 256);
  expect(entry.subarray(0, 16).toString("hex")).toBe("e3bc684fcde8b14d96e7fbcaf984b709");
  expect([entry.readBigUInt64LE(32), entry.readBigUInt64LE(40)]).toEqual([4096n, 6143n]);
  expect(entry.toString("utf16le", 56, 64)).toBe("root");
  expect(entry.subarray(16, 32)).not.toEqual(head.subarray(2 * sectorSize + 16, 2 * sectorSize + 32));
});

test("the protective MBR keeps the boot code and covers the disk", () => {
  const { head } = table();
  expect(head.subarray(0, 440).every((byte) => byte === 0x90)).toBe(true);
  expect(head.readUInt8(450)).toBe(0xee);
  expect([head.readUInt32LE(454), head.readUInt32LE(458)]).toEqual([1, 8191]);
  expect(head.readUInt16LE(510)).toBe(0xaa55);
});

test("boot code that would reach into the partition entries is refused", () => {
  expect(() =>
    encodePartitionTable({ sectors, partitions: [], bootCode: Buffer.alloc(441), newGuid: () => "" }),
  ).toThrow(/at most 440/);
});
