/** Where ext4 puts what is made in a directory. */
import { closeSync, openSync } from "node:fs";
import { bind } from "./libc.ts";

/** linux/fs.h: flags of an inode, as chattr(1) sets them. */
const FS_IOC_GETFLAGS = 0x80086601n;
const FS_IOC_SETFLAGS = 0x40086602n;
const FS_TOPDIR_FL = 0x00020000;

const ioctl = bind<(fd: number, request: bigint, argument: Uint32Array) => number>(
  "int ioctl(int fd, unsigned long request, void *argument)",
);

/**
 * Marks a directory whose subdirectories have nothing to do with each other ("top of hierarchies", chattr +T): ext4 then spreads them over
 * the disk. Otherwise it keeps them near each other, and where many files were removed in the last minutes, making new ones there is ten
 * times as slow: the kernel passes by every inode that was freed a short while ago, again for each new file. False where the file system
 * knows no such mark, which does no harm.
 */
export function spreadSubdirectories(directory: string): boolean {
  const fd = openSync(directory, "r");
  try {
    const flags = new Uint32Array(2);
    if (ioctl(fd, FS_IOC_GETFLAGS, flags) < 0) return false;
    flags[0] = (flags[0] ?? 0) | FS_TOPDIR_FL;
    return ioctl(fd, FS_IOC_SETFLAGS, flags) === 0;
  } finally {
    closeSync(fd);
  }
}
