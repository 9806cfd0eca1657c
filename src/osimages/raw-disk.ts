/**
 * A bootable disk as a sparse file: partition table, boot loader, EFI system partition and a root file system filled from a directory.
 * Nothing is mounted and nothing of the directory is run. SeaBIOS and UEFI firmware both start it.
 */
import { randomUUID } from "node:crypto";
import { open } from "node:fs/promises";
import type { OpContext } from "../base/op-context.ts";
import { writeFile } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import { type BootLoader, makeBootLoader } from "./boot-loader.ts";
import { osImageErrors } from "./errors.ts";
import { encodePartitionTable, type Partition, sectorSize, tailSectors } from "./partition-table.ts";
import { runTool } from "./run-tool.ts";

const MiB = 1024 * 1024;
const mebibyteSectors = MiB / sectorSize;
/** Fixed: 1 MiB for GRUB's core (190 KB), 64 MiB for UEFI (the least that every firmware takes as FAT32), the rest for the root. */
const layout = { bios: 1, esp: 2, root: 66 } as const;
const rootOffset = layout.root * MiB;
/** ext4's own needs beside the files, and room in which a machine can live before its disk is grown. */
const overhead = { share: 1.15, bytes: 96 * MiB, perFile: 512 } as const;
const block = 4096;
const spareInodes = 16_384;
const bytesPerInode = 16_384;

export interface TreeSize {
  /** Bytes in whole blocks. */
  readonly bytes: number;
  readonly files: number;
}

export interface RawDiskRequest {
  /** The root file system's files; only read. */
  readonly tree: string;
  readonly size: TreeSize;
  /** What the menu on the root says: it is in the tree already. */
  readonly rootUuid: string;
  /** A new file. */
  readonly file: string;
  /** Existing, for what is made on the way; the caller's to remove. */
  readonly directory: string;
  /** Bytes, whole MiB. */
  readonly virtualSize: number;
}

/** Bytes that a disk of these files has at least. */
export function leastSize({ bytes, files }: TreeSize): number {
  const root = bytes * overhead.share + files * overhead.perFile + overhead.bytes;
  return (Math.ceil(root / MiB) + layout.root + 1) * MiB;
}

/** How much room a directory's files take on a file system of 4 KiB blocks, whatever the host's packs. */
export async function measureTree(ctx: OpContext, host: Pick<Host, "processes">, directory: string): Promise<TreeSize> {
  const du = async (...options: string[]) => {
    const words = ["-s", "-x", ...options, directory];
    const value = Number.parseInt(await runTool(ctx, host, { step: "du", program: "du", words }), 10);
    if (!Number.isSafeInteger(value)) throw osImageErrors.OS_TOOL_FAILED({ step: "du", reason: "it tells no number" });
    return value;
  };
  const apparent = await du("--apparent-size", "-B1");
  const files = await du("--inodes");
  return { bytes: apparent + files * block, files };
}

/** Writes the disk. `OS_DISK_TOO_SMALL` before anything is. */
export async function writeRawDisk(
  ctx: OpContext,
  host: Pick<Host, "processes">,
  request: RawDiskRequest,
): Promise<void> {
  const { file, virtualSize, directory, rootUuid } = request;
  const needed = leastSize(request.size);
  if (virtualSize < needed) throw osImageErrors.OS_DISK_TOO_SMALL({ wanted: virtualSize, needed });
  const sectors = virtualSize / sectorSize;
  const partitions = partitionsOf(sectors);
  const coreSector = layout.bios * mebibyteSectors;
  const loader = await makeBootLoader(ctx, host, { directory, rootUuid, coreSector });
  await writeFile(file, "", { mode: 0o600, flag: "wx" });
  await writeFixedParts(file, sectors, partitions, loader);
  await formatEsp(ctx, host, file, loader.efi);
  const rootMiB = Math.floor((sectors - tailSectors) / mebibyteSectors) - layout.root;
  const inodes = Math.max(request.size.files + spareInodes, Math.ceil((rootMiB * MiB) / bytesPerInode));
  const format = ["-b", String(block), "-I", "256", "-m", "1", "-U", rootUuid, "-L", "root", "-N", String(inodes)];
  // What GRUB 2.06 can't read is left out, whatever mkfs would choose.
  const features = ["-T", "default", "-O", "^metadata_csum_seed,^orphan_file"];
  const extended = `offset=${rootOffset},lazy_itable_init=1,lazy_journal_init=1,nodiscard`;
  const words = ["-q", "-F", ...format, ...features, "-E", extended, "-d", request.tree, file, `${rootMiB}M`];
  await runTool(ctx, host, { step: "mkfs.ext4", program: "mkfs.ext4", words });
}

function partitionsOf(sectors: number): readonly Partition[] {
  const at = (mebibytes: number) => mebibytes * mebibyteSectors;
  const lastWhole = Math.floor((sectors - tailSectors) / mebibyteSectors) * mebibyteSectors - 1;
  return [
    { kind: "bios", name: "bios", first: at(layout.bios), last: at(layout.esp) - 1 },
    { kind: "esp", name: "esp", first: at(layout.esp), last: at(layout.root) - 1 },
    { kind: "root", name: "root", first: at(layout.root), last: lastWhole },
  ];
}

async function writeFixedParts(
  path: string,
  sectors: number,
  partitions: readonly Partition[],
  { bootCode, core }: BootLoader,
): Promise<void> {
  if (core.length > (layout.esp - layout.bios) * MiB) {
    throw osImageErrors.OS_TOOL_FAILED({ step: "grub-mkimage", reason: `its image has ${core.length} bytes` });
  }
  const { head, tail } = encodePartitionTable({ sectors, partitions, bootCode, newGuid: randomUUID });
  await using file = await open(path, "r+");
  await file.truncate(sectors * sectorSize);
  await file.write(head, 0, head.length, 0);
  await file.write(core, 0, core.length, layout.bios * MiB);
  await file.write(tail, 0, tail.length, sectors * sectorSize - tail.length);
}

/** FAT32 with the one program that firmware starts from a disk it does not know. */
async function formatEsp(ctx: OpContext, host: Pick<Host, "processes">, disk: string, efi: string): Promise<void> {
  const image = ["-i", `${disk}@@${layout.esp * MiB}`];
  const sectors = String((layout.root - layout.esp) * mebibyteSectors);
  const run = async (program: string, words: readonly string[]) =>
    await runTool(ctx, host, { step: program, program, words: [...image, ...words], timeoutMs: 60_000 });
  await run("mformat", ["-F", "-T", sectors, "-h", "64", "-s", "32", "-v", "ESP", "::"]);
  await run("mmd", ["::/EFI", "::/EFI/BOOT"]);
  await run("mcopy", [efi, "::/EFI/BOOT/BOOTX64.EFI"]);
}
