import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { bind, checked } from "../libc.ts";
import { SyscallError } from "../syscall-error.ts";
import { named, WorkerFailureError } from "./worker-failure.ts";

const openat2 = bind<(call: number, dirfd: number, path: string, how: Buffer, size: number) => number>(
  "long syscall(long call, int dirfd, const char *path, void *how, size_t size)",
);
const open = bind<(path: string, flags: number) => number>("int open(const char *path, int flags)");

const SYS_OPENAT2 = 437;
const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_IN_ROOT = 0x10;

/** A file as seen from inside `root`: the kernel resolves every symbolic link there (openat2(2), RESOLVE_IN_ROOT). */
export function readInRoot(root: string, path: string, maxBytes: number): Uint8Array | undefined {
  return named("read-in-root", `${root}:${path}`, () => {
    const rootFd = checked("open", open(root, O_PATH | O_CLOEXEC));
    try {
      const fd = openInRoot(rootFd, path);
      if (fd === undefined) return undefined;
      try {
        return readRegularFile(fd, { root, path, maxBytes });
      } finally {
        closeSync(fd);
      }
    } finally {
      closeSync(rootFd);
    }
  });
}

/** Opened as a path only: opening a FIFO or a device that a container made would block or have effects. */
function openInRoot(rootFd: number, path: string): number | undefined {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(O_PATH | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), 16);
  for (;;) {
    try {
      return checked("openat2", openat2(SYS_OPENAT2, rootFd, path, how, how.length));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // Something in the tree was renamed while the kernel walked it.
      if (error.code === "EAGAIN") continue;
      if (error.code === "ENOENT" || error.code === "ENOTDIR" || error.code === "ELOOP") return undefined;
      throw error;
    }
  }
}

function readRegularFile(
  pathFd: number,
  request: { readonly root: string; readonly path: string; readonly maxBytes: number },
): Uint8Array {
  const { root, path, maxBytes } = request;
  const refuse = (reason: string) => new WorkerFailureError({ kind: "read-refused", path, root, reason });
  const stat = fstatSync(pathFd);
  if (!stat.isFile()) throw refuse("is not a regular file");
  if (stat.size > maxBytes) throw refuse(`is larger than ${maxBytes} bytes`);
  const fd = openSync(`/proc/thread-self/fd/${pathFd}`, "r");
  try {
    // One byte more than allowed: the file may have grown, and files of /proc say size 0.
    const bytes = new Uint8Array(maxBytes + 1 > stat.size + 4096 ? stat.size + 4096 : maxBytes + 1);
    let length = 0;
    while (length < bytes.length) {
      const count = readSync(fd, bytes, length, bytes.length - length, null);
      if (count === 0) return bytes.slice(0, length);
      length += count;
    }
    throw refuse(`is larger than ${maxBytes} bytes, or growing`);
  } finally {
    closeSync(fd);
  }
}
