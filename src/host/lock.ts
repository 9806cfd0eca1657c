import { closeSync, fstatSync, open as openCallback, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { hostErrors } from "./errors.ts";
import { bind, checked } from "./libc.ts";
import { SyscallError } from "./syscall-error.ts";

const flock = bind<(fd: number, operation: number) => number>("int flock(int fd, int operation)");
const openFile = promisify(openCallback);
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes an exclusive flock(2) on `path` (made 0600 when missing), held by this process until disposed or its death:
 * the descriptor is closed on exec, so that no child keeps it. `LOCK_HELD` names the holder.
 */
export async function lockFile(path: string): Promise<Disposable> {
  // Opened for appending: what the file holds is the caller's.
  const fd = await openFile(path, "a", 0o600);
  try {
    checked("flock", flock(fd, LOCK_EX | LOCK_NB));
  } catch (error) {
    const holder = holderOf(fd);
    closeSync(fd);
    if (!(error instanceof SyscallError)) throw error;
    if (error.code === "EAGAIN") throw hostErrors.LOCK_HELD({ path, holder });
    throw hostErrors.KERNEL_OP_FAILED({ op: "lock", target: path, errno: error.code, text: error.text });
  }
  let held = true;
  return {
    [Symbol.dispose]: () => {
      if (held) closeSync(fd);
      held = false;
    },
  };
}

function holderOf(fd: number): number | undefined {
  return findLockHolder(readFileSync("/proc/locks", "utf8"), fstatSync(fd).ino);
}

/** Pid that holds the flock on the file with this inode number, from the text of /proc/locks (proc_locks(5)). */
export function findLockHolder(locks: string, inode: number): number | undefined {
  for (const line of locks.split("\n")) {
    // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF; waiting ones have "->" second.
    const [, kind, , , pid, file] = line.split(/\s+/);
    if (kind === "FLOCK" && file?.split(":")[2] === String(inode)) return Number(pid);
  }
  return undefined;
}
