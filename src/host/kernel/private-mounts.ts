import { closeSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { bind, checked } from "../libc.ts";
import { type SpawnPlan, spawnProcessHere } from "../process/posix-spawn.ts";
import { SyscallError } from "../syscall-error.ts";
import { applyMount } from "./mounts.ts";
import { NamespaceLostError } from "./netns.ts";
import { named } from "./worker-failure.ts";

const setns = bind<(fd: number, type: number) => number>("int setns(int fd, int nstype)");
const unshare = bind<(flags: number) => number>("int unshare(int flags)");

const CLONE_NEWNS = 0x20000;
const SELF = "/proc/thread-self/ns/mnt";

/** A file that is seen in the place of another. */
export interface FileOver {
  readonly source: string;
  readonly target: string;
}

/** A descriptor of a copy of the host's mounts, with `files` over others: see {@link inPrivateMounts}. */
export function openPrivateMounts(files: readonly FileOver[]): number {
  return inPrivateMounts(files, () => openSync(SELF, "r"));
}

/** Starts a program that sees `files` over others; its pid, or the positive errno of a failed posix_spawn(3). */
export function spawnOver(
  files: readonly FileOver[],
  plan: SpawnPlan,
): { readonly pid: number; readonly errno: number } {
  return inPrivateMounts(files, () => {
    try {
      return { pid: spawnProcessHere(plan), errno: 0 };
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      return { pid: 0, errno: -error.errno };
    }
  });
}

/**
 * Does `work` in a copy of the host's mounts as they are now, with `files` over others, which nobody else sees. Other mounts travel to
 * and from the copy as their propagation has it. It lives as long as what has a descriptor of it, or was started in it.
 */
function inPrivateMounts<T>(files: readonly FileOver[], work: () => T): T {
  const home = openSync(SELF, "r");
  try {
    named("unshare", "mount namespace", () => checked("unshare", unshare(CLONE_NEWNS)));
    try {
      named("private mounts", files.map(({ target }) => target).join(", "), () => {
        for (const { source, target } of files) {
          isolate(dirname(target));
          applyMount({ op: "mount", source, target, flags: ["bind"] });
        }
      });
      return work();
    } finally {
      goHome(home);
    }
  } finally {
    closeSync(home);
  }
}

/** Keeps what is mounted on the file system that `path` is on from travelling to the host's copy of it. */
function isolate(path: string): void {
  try {
    applyMount({ op: "mount", source: "none", target: path, flags: ["private"] });
  } catch (error) {
    // EINVAL: not a mount point; the one that it is on is further up.
    if (!(error instanceof SyscallError && error.code === "EINVAL") || path === "/") throw error;
    isolate(dirname(path));
  }
}

function goHome(home: number): void {
  try {
    checked("setns", setns(home, CLONE_NEWNS));
  } catch (error) {
    throw new NamespaceLostError(error);
  }
}
