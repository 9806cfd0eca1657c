import type { FileOp } from "../kernel-ops.ts";
import { bind, checked } from "../libc.ts";

const mknod = bind<(path: string, mode: number, device: number) => number>(
  "int mknod(const char *path, unsigned int mode, unsigned long dev)",
);
const chmod = bind<(path: string, mode: number) => number>("int chmod(const char *path, unsigned int mode)");

const types = { char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;

/** mknod(2) with exactly the stated permissions, whatever the umask. */
export function applyMknod(op: Extract<FileOp, { op: "mknod" }>): void {
  checked("mknod", mknod(op.path, types[op.type] | op.mode, op.type === "fifo" ? 0 : makedev(op.major, op.minor)));
  checked("chmod", chmod(op.path, op.mode));
}

/** glibc's gnu_dev_makedev, for numbers of at most 20 bits (all that the kernel gives out). */
export function makedev(major: number, minor: number): number {
  return (((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12)) >>> 0;
}
