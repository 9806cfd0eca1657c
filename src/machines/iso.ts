/** What an ISO boots on, by its El Torito catalogue (El Torito 1.0; ECMA-119 for the volume descriptors around it). */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { messageOf } from "../base/errors.ts";
import type { MachineFirmware } from "../schema/machine.ts";
import { machineRoomErrors } from "./errors.ts";

const sector = 2048;
/** Volume descriptors begin after the system area, and end with a terminator: nobody has this many. */
const descriptors = { first: 16, last: 64 };
const bootSystem = "EL TORITO SPECIFICATION";

/** `MEDIUM_UNREADABLE`, `ISO_INVALID`. */
export async function bootableFirmware(file: string): Promise<ReadonlySet<MachineFirmware>> {
  let handle: FileHandle;
  try {
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw machineRoomErrors.MEDIUM_UNREADABLE({ file, reason: messageOf(error) }, { cause: error });
  }
  try {
    if (!(await handle.stat()).isFile()) throw machineRoomErrors.MEDIUM_UNREADABLE({ file, reason: "it is no file" });
    const catalogue = await catalogueSector(handle, file);
    return catalogue === undefined ? new Set() : platforms(await read(handle, catalogue));
  } finally {
    await handle.close();
  }
}

/** `ISO_NOT_BOOTABLE` unless a machine with this firmware boots from it. */
export async function requireBootable(file: string, firmware: MachineFirmware): Promise<void> {
  const found = await bootableFirmware(file);
  if (!found.has(firmware)) throw machineRoomErrors.ISO_NOT_BOOTABLE({ file, firmware, other: found.size > 0 });
}

async function catalogueSector(handle: FileHandle, file: string): Promise<number | undefined> {
  for (let at = descriptors.first; at < descriptors.last; at++) {
    const descriptor = await read(handle, at);
    if (descriptor.toString("latin1", 1, 6) !== "CD001") {
      if (at === descriptors.first) throw machineRoomErrors.ISO_INVALID({ file });
      return undefined;
    }
    const kind = descriptor[0];
    if (kind === 0 && descriptor.toString("latin1", 7, 7 + bootSystem.length) === bootSystem) {
      return descriptor.readUInt32LE(0x47);
    }
    if (kind === 255) return undefined;
  }
  return undefined;
}

/** The validation entry names the platform of the first, default entry; sections name theirs. */
function platforms(catalogue: Buffer): ReadonlySet<MachineFirmware> {
  const found = new Set<MachineFirmware>();
  const add = (platform: number | undefined, entry: number) => {
    if (catalogue[entry] !== 0x88) return; // Not bootable.
    if (platform === 0) found.add("bios");
    if (platform === 0xef) found.add("uefi");
  };
  if (catalogue[0] !== 1 || catalogue.readUInt16LE(30) !== 0xaa55) return found;
  add(catalogue[1], 32);
  for (let at = 64; at + 64 <= catalogue.length; ) {
    const kind = catalogue[at];
    if (kind !== 0x90 && kind !== 0x91) break;
    const entries = catalogue.readUInt16LE(at + 2);
    for (let nth = 1; nth <= entries && at + nth * 32 < catalogue.length; nth++) add(catalogue[at + 1], at + nth * 32);
    if (kind === 0x91) break; // The last section.
    at += 32 * (entries + 1);
  }
  return found;
}

async function read(handle: FileHandle, at: number): Promise<Buffer> {
  const buffer = Buffer.alloc(sector);
  await handle.read(buffer, 0, sector, at * sector);
  return buffer;
}
