import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bootableFirmware, requireBootable } from "./iso.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-iso-"));
});
afterAll(() => {
  rmSync(dir, { recursive: true });
});

const sector = 2048;

/** Volume descriptors and a boot catalogue at sector 20 of an ISO; `entries` are (platform, bootable) of default entry and sections. */
function iso(name: string, entries: readonly (readonly [platform: number, bootable: boolean])[]): string {
  const image = Buffer.alloc(21 * sector);
  const descriptor = (at: number, kind: number) => {
    image[at * sector] = kind;
    image.write("CD001", at * sector + 1);
  };
  descriptor(16, 1);
  if (entries.length > 0) {
    descriptor(17, 0);
    image.write("EL TORITO SPECIFICATION", 17 * sector + 7);
    image.writeUInt32LE(20, 17 * sector + 0x47);
  }
  descriptor(18, 255);
  const catalogue = 20 * sector;
  entries.forEach(([platform, bootable], nth) => {
    const header = nth === 0 ? catalogue : catalogue + 64 * nth;
    image[header] = nth === 0 ? 1 : nth === entries.length - 1 ? 0x91 : 0x90;
    image[header + 1] = platform;
    if (nth === 0) image.writeUInt16LE(0xaa55, header + 30);
    else image.writeUInt16LE(1, header + 2);
    image[header + 32] = bootable ? 0x88 : 0;
  });
  const file = join(dir, name);
  writeFileSync(file, image);
  return file;
}

describe("bootableFirmware", () => {
  it.each([
    ["BIOS alone", [[0, true]], ["bios"]],
    ["UEFI alone", [[0xef, true]], ["uefi"]],
    [
      "both",
      [
        [0, true],
        [0xef, true],
      ],
      ["bios", "uefi"],
    ],
    [
      "three sections",
      [
        [0, false],
        [1, true],
        [0xef, true],
      ],
      ["uefi"],
    ],
    ["nothing that boots", [[0, false]], []],
    ["no boot record", [], []],
  ] as const)("finds %s", async (name, entries, expected) => {
    expect([...(await bootableFirmware(iso(name, entries)))].sort()).toEqual([...expected]);
  });

  it("refuses what is no ISO, no file, or not there", async () => {
    const text = join(dir, "text");
    writeFileSync(text, "hello");
    await expect(bootableFirmware(text)).rejects.toMatchObject({ code: "ISO_INVALID" });
    await expect(bootableFirmware(dir)).rejects.toMatchObject({ code: "MEDIUM_UNREADABLE" });
    await expect(bootableFirmware(join(dir, "none"))).rejects.toMatchObject({ code: "MEDIUM_UNREADABLE" });
  });

  it("says which firmware would boot it", async () => {
    const file = iso("efi", [[0xef, true]]);
    await requireBootable(file, "uefi");
    await expect(requireBootable(file, "bios")).rejects.toMatchObject({
      code: "ISO_NOT_BOOTABLE",
      hint: "use --firmware uefi",
    });
  });

  it("comes to an end with a catalogue that lies about its length", async () => {
    const file = iso("endless", [
      [0, true],
      [0xef, true],
    ]);
    const image = readFileSync(file);
    image.writeUInt16LE(0xffff, 20 * sector + 64 + 2);
    writeFileSync(file, image);
    expect(await bootableFirmware(file)).toContain("bios");
  });
});
