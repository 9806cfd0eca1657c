/**
 * System calls for the archive worker's thread, which Node's `fs` lacks: the wall (its own root directory, umask and
 * capabilities, all per thread on Linux), device nodes, extended attributes and nanosecond times.
 *
 * Paths are "binary strings": each UTF-16 unit is one byte, so that file names need not be UTF-8.
 */
import { stat } from "node:fs/promises";
import { bind, checked, lastErrno } from "./libc.ts";

const CLONE_FS = 0x200;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const ENODATA = 61;
const EOPNOTSUPP = 95;
const ERANGE = 34;
const LINUX_CAPABILITY_VERSION_3 = 0x20080522;

/**
 * What unpacking a tree needs, by number: CHOWN, DAC_OVERRIDE, FOWNER, FSETID; SYS_CHROOT to be confined anew when the
 * thread is used again; SYS_ADMIN for `trusted.*` attributes (overlay's marks); MKNOD; SETFCAP.
 */
const KEPT_CAPABILITIES = [0, 1, 3, 4, 18, 21, 27, 31];

/** A thread behind the wall. Only for a worker thread that does nothing but synchronous file calls. */
export interface ConfinedThread {
  /** Makes an open directory this thread's root, also when it was confined elsewhere before. */
  enter(directory: number): void;
}

/** Calls that take and return plain values; failures throw an Error with `code`, as Node's do. None follows a final symbolic link. */
export interface FileCalls {
  mknod(path: string, modeWithType: number, major: number, minor: number): void;
  setXattr(path: string, name: string, value: Uint8Array): void;
  /** Every attribute; empty where the file system has none. */
  xattrs(path: string): ReadonlyMap<string, Buffer>;
  /** Sets access and modification time. */
  setTimes(path: string, seconds: number, nanoseconds: number): void;
}

/**
 * Call this on the engine's own thread before any thread is confined. libuv makes the threads of its pool when someone first
 * needs one, and a new thread shares its maker's root: made by a confined one, the whole process's asynchronous file calls
 * would run behind that wall.
 */
export async function startThreadPool(): Promise<void> {
  await stat("/");
}

/** Gives the calling thread its own root directory, working directory and umask (0), and drops capabilities that it does not need. */
export function confineThread(): ConfinedThread {
  checked("unshare", unshare(CLONE_FS));
  umask(0);
  dropCapabilities();
  return {
    enter(directory) {
      checked("fchdir", fchdir(directory));
      checked("chroot", chroot(cString(".")));
    },
  };
}

export function linuxFileCalls(): FileCalls {
  const times = new BigInt64Array(4);
  let scratch = Buffer.allocUnsafe(4096);

  const readGrowing = (call: string, read: (buffer: Buffer, size: number) => number): Buffer => {
    for (;;) {
      const length = read(scratch, scratch.length);
      if (length >= 0) return Buffer.from(scratch.subarray(0, length));
      if (lastErrno() === EOPNOTSUPP || lastErrno() === ENODATA) return Buffer.alloc(0);
      if (lastErrno() !== ERANGE || scratch.length >= 1 << 20) checked(call, length);
      scratch = Buffer.allocUnsafe(scratch.length * 4);
    }
  };

  return {
    mknod(path, modeWithType, major, minor) {
      checked("mknod", mknod(cString(path), modeWithType, deviceNumber(major, minor)));
    },
    setXattr(path, name, value) {
      checked("lsetxattr", lsetxattr(cString(path), cString(name), value, value.length, 0));
    },
    xattrs(path) {
      const cPath = cString(path);
      const names = readGrowing("llistxattr", (buffer, size) => llistxattr(cPath, buffer, size));
      const found = new Map<string, Buffer>();
      for (const name of names.toString("latin1").split("\0")) {
        if (name === "") continue;
        const cName = cString(name);
        found.set(
          name,
          readGrowing("lgetxattr", (buffer, size) => lgetxattr(cPath, cName, buffer, size)),
        );
      }
      return found;
    },
    setTimes(path, seconds, nanoseconds) {
      times[0] = times[2] = BigInt(seconds);
      times[1] = times[3] = BigInt(nanoseconds);
      checked("utimensat", utimensat(AT_FDCWD, cString(path), times, AT_SYMLINK_NOFOLLOW));
    },
  };
}

type Bytes = Buffer | Uint8Array;

const unshare = bind<(flags: number) => number>("int unshare(int flags)");
const chroot = bind<(path: Bytes) => number>("int chroot(const void *path)");
const fchdir = bind<(fd: number) => number>("int fchdir(int fd)");
const umask = bind<(mask: number) => number>("uint32_t umask(uint32_t mask)");
const capget = bind<(header: Uint32Array, data: Uint32Array) => number>("int capget(void *header, void *data)");
const capset = bind<(header: Uint32Array, data: Uint32Array) => number>("int capset(void *header, const void *data)");
const mknod = bind<(path: Bytes, mode: number, device: bigint) => number>(
  "int mknod(const void *path, uint32_t mode, uint64_t dev)",
);
const lsetxattr = bind<(path: Bytes, name: Bytes, value: Bytes, size: number, flags: number) => number>(
  "int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)",
);
const llistxattr = bind<(path: Bytes, list: Bytes, size: number) => number>(
  "long llistxattr(const void *path, void *list, size_t size)",
);
const lgetxattr = bind<(path: Bytes, name: Bytes, value: Bytes, size: number) => number>(
  "long lgetxattr(const void *path, const void *name, void *value, size_t size)",
);
const utimensat = bind<(directory: number, path: Bytes, times: BigInt64Array, flags: number) => number>(
  "int utimensat(int dirfd, const void *path, const void *times, int flags)",
);

/** capset(2) is per thread: version 3 has two words of each of effective, permitted and inheritable. */
function dropCapabilities(): void {
  const header = new Uint32Array([LINUX_CAPABILITY_VERSION_3, 0]);
  const sets = new Uint32Array(6);
  checked("capget", capget(header, sets));
  const kept = KEPT_CAPABILITIES.reduce((mask, bit) => mask | (1 << bit), 0) >>> 0;
  const permitted = ((sets[1] ?? 0) & kept) >>> 0;
  checked("capset", capset(header, new Uint32Array([permitted, permitted, 0, 0, 0, 0])));
}

/** makedev(3), as glibc packs it. */
function deviceNumber(major: number, minor: number): bigint {
  const [hi, lo] = [BigInt(major), BigInt(minor)];
  return ((hi & 0xfffff000n) << 32n) | ((hi & 0xfffn) << 8n) | ((lo & 0xffffff00n) << 12n) | (lo & 0xffn);
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, "latin1");
}
