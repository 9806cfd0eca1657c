/**
 * GRUB for both firmwares, made from the host's own files and never run here: the BIOS' one is embedded in a partition of its own, where
 * the boot code in the MBR finds it by its sector; UEFI's is a file on the EFI system partition.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { OpContext } from "../base/op-context.ts";
import { writeFile } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import { osImageErrors } from "./errors.ts";
import { runTool } from "./run-tool.ts";
import { sectorSize } from "./partition-table.ts";

export interface BootLoader {
  /** The first 440 bytes of the disk. */
  readonly bootCode: Buffer;
  /** What the boot code loads, for the sector that was given. */
  readonly core: Buffer;
  /** Path of the EFI program, in the directory that was given. */
  readonly efi: string;
}

/** Where distributions install GRUB's modules and images. */
const grubDirectory = "/usr/lib/grub";
/** The menu on the root file system. Not where a distribution's own update-grub writes: its menu needs files that are not there. */
export const menuPath = "boot/berth/grub.cfg";

/** All that the menu uses, inside: nothing is loaded from the disk before it. */
const modules = ["part_gpt", "ext2", "search_fs_uuid", "linux", "normal", "configfile", "serial", "terminal", "echo"];
const menuModules = [
  "test",
  "regexp",
  "boot",
  "minicmd",
  "all_video",
  "gzio",
  "loadenv",
  "halt",
  "reboot",
  "ls",
  "cat",
];

/** Places in GRUB's boot.img (include/grub/i386/pc/boot.h) and in its diskboot.img, the first sector of a core image. */
const boot = { kernelSector: 0x5c, drive: 0x64, driveCheck: 0x66 } as const;
const firstBlockList = sectorSize - 12;
/** Paragraph at which the rest of the core image is loaded: 0x8200. */
const coreSegment = 0x820;

/** Makes both in `directory`. `rootUuid` is of the file system with the menu; `coreSector` is where the core will be. */
export async function makeBootLoader(
  ctx: OpContext,
  host: Pick<Host, "processes">,
  {
    directory,
    rootUuid,
    coreSector,
  }: { readonly directory: string; readonly rootUuid: string; readonly coreSector: number },
): Promise<BootLoader> {
  for (const format of ["i386-pc", "x86_64-efi"]) {
    const wanted = join(grubDirectory, format);
    if (!existsSync(wanted)) throw osImageErrors.OS_LOADER_MISSING({ directory: wanted });
  }
  const early = join(directory, "early.cfg");
  await writeFile(
    early,
    `search.fs_uuid ${rootUuid} root\nset prefix=($root)/boot/berth\nconfigfile ($root)/${menuPath}\n`,
  );
  const make = async (format: string, further: readonly string[]) => {
    const file = join(directory, format);
    const words = ["-O", format, "-p", "/boot/berth", "-c", early, "-o", file, ...further, ...modules, ...menuModules];
    await runTool(ctx, host, { step: "grub-mkimage", program: "grub-mkimage", words });
    return file;
  };
  const [bios, efi] = await Promise.all([make("i386-pc", ["biosdisk"]), make("x86_64-efi", [])]);
  const bootImage = await readFile(join(grubDirectory, "i386-pc", "boot.img"));
  return { bootCode: patchBootCode(bootImage, coreSector), core: placeCore(await readFile(bios), coreSector), efi };
}

/** The boot code for a core image at `coreSector`, as grub-bios-setup leaves it for a disk that is no floppy. */
export function patchBootCode(bootImage: Buffer, coreSector: number): Buffer {
  const code = Buffer.from(bootImage.subarray(0, 440));
  code.writeBigUInt64LE(BigInt(coreSector), boot.kernelSector);
  // 0xff: the drive that the firmware names. Two no-ops: believe it.
  code.writeUInt8(0xff, boot.drive);
  code.writeUInt16LE(0x9090, boot.driveCheck);
  return code;
}

/** The core image, in whole sectors, whose first one knows where the others are: right behind it. */
export function placeCore(core: Buffer, coreSector: number): Buffer {
  const sectors = Math.ceil(core.length / sectorSize);
  const placed = Buffer.alloc(sectors * sectorSize);
  core.copy(placed);
  placed.writeBigUInt64LE(BigInt(coreSector + 1), firstBlockList);
  placed.writeUInt16LE(sectors - 1, firstBlockList + 8);
  placed.writeUInt16LE(coreSegment, firstBlockList + 10);
  return placed;
}
