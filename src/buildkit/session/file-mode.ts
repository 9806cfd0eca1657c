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

/** The kernel's permission bits. */
export function permissions(mode: number): number {
  const bit = (go: number, unix: number): number => ((mode & go) === 0 ? 0 : unix);
  return (mode & 0o777) | bit(setuid, 0o4000) | bit(setgid, 0o2000) | bit(sticky, 0o1000);
}
