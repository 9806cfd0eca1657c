/** Go's `os.FileMode`, as fsutil sends it: permissions as the kernel has them, all else in the upper bits. */
import type { TarEntryType } from "../../archive/tar-entry.ts";

const directory = 0x8000_0000;
const symlink = 0x0800_0000;
const device = 0x0400_0000;
const fifo = 0x0200_0000;
const socket = 0x0100_0000;
const setuid = 0x0080_0000;
const setgid = 0x0040_0000;
const charDevice = 0x0020_0000;
const sticky = 0x0010_0000;
const irregular = 0x0008_0000;

/** "other" is a socket or nothing that an archive can hold. Whether content may be asked for: "file" alone. */
export function fileKind(mode: number): Exclude<TarEntryType, "hardlink"> | "other" {
  const has = (bits: number): boolean => (mode & bits) !== 0;
  if (has(directory)) return "directory";
  if (has(symlink)) return "symlink";
  if (has(device)) return has(charDevice) ? "char" : "block";
  if (has(fifo)) return "fifo";
  return has(socket) || has(irregular) ? "other" : "file";
}

/** The mode of a file of this kind with the kernel's permission bits `mode`. */
export function goMode(kind: Exclude<TarEntryType, "hardlink">, mode: number): number {
  const bit = (unix: number, go: number): number => ((mode & unix) === 0 ? 0 : go);
  const special = bit(0o4000, setuid) + bit(0o2000, setgid) + bit(0o1000, sticky);
  return typeBits[kind] + special + (mode & 0o777);
}

const typeBits: Readonly<Record<Exclude<TarEntryType, "hardlink">, number>> = {
  file: 0,
  directory,
  symlink,
  block: device,
  char: device + charDevice,
  fifo,
};

/** The kernel's permission bits. */
export function permissions(mode: number): number {
  const bit = (go: number, unix: number): number => ((mode & go) === 0 ? 0 : unix);
  return (mode & 0o777) | bit(setuid, 0o4000) | bit(setgid, 0o2000) | bit(sticky, 0o1000);
}
