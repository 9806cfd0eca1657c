import { closeSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { bind, checked } from "../libc.ts";
import { type SpawnPlan, spawnProcessHere } from "../process/posix-spawn.ts";
import { SyscallError } from "../syscall-error.ts";
import { applyMount, applyUnmount, listMounts } from "./mounts.ts";
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

/**
 * Starts a program that sees `files` over others, among the mounts of the system and nothing else; its pid, or the positive errno of a
 * failed posix_spawn(3). Such a program may run for days: in a full copy of the mounts it would keep every root file system that was
 * mounted at its start, whoever unmounts it, and the next mount of such a root would be a second one of the same upper directory.
 */
export function spawnOver(
  files: readonly FileOver[],
  plan: SpawnPlan,
): { readonly pid: number; readonly errno: number } {
  const needed = [plan.program, plan.cwd ?? "/"].filter((path) => !isKernels(path));
  const mounts = systemMounts(files, needed);
  return visit(
    () => checked("setns", setns(mounts, CLONE_NEWNS)),
    () => {
      try {
        return { pid: spawnProcessHere(plan), errno: 0 };
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        return { pid: 0, errno: -error.errno };
      }
    },
  );
}

/** Descriptors, by what is over others and needed: made once, since each mount to drop takes 30 µs. */
const systemMountsOf = new Map<string, number>();

function systemMounts(files: readonly FileOver[], needed: readonly string[]): number {
  const key = JSON.stringify([files, needed]);
  const known = systemMountsOf.get(key);
  if (known !== undefined) return known;
  const made = inPrivateMounts(files, () => {
    dropMounts([...needed, ...files.flatMap(({ source, target }) => [source, target])]);
    return openSync(SELF, "r");
  });
  systemMountsOf.set(key, made);
  return made;
}

/** What programs need to run: below these, and what these are on. */
const kernelDirectories = ["/proc", "/sys", "/dev"];
const programDirectories = ["/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/opt", "/nix", "/gnu"];

/** Drops the mounts, of this thread's namespace, that neither programs nor `paths` are on. */
function dropMounts(paths: readonly string[]): void {
  // First: where mounts are shared, to unmount one here would be to unmount the host's. The host's unmounts still come here.
  applyMount({ op: "mount", source: "none", target: "/", flags: ["rslave"] });
  const needed = [...programDirectories, ...paths];
  let dropped: string | undefined;
  for (const { target } of listMounts("/")) {
    const isNeeded = needed.some((path) => isWithin(path, target));
    const isProgramFiles = programDirectories.some((directory) => isWithin(target, directory));
    // What was mounted below went along.
    if (isKernels(target) || isNeeded || isProgramFiles || (dropped !== undefined && isWithin(target, dropped)))
      continue;
    applyUnmount({ op: "unmount", target, detach: true });
    dropped = target;
  }
}

function isKernels(path: string): boolean {
  return kernelDirectories.some((directory) => isWithin(path, directory));
}

function isWithin(path: string, directory: string): boolean {
  return directory === "/" || path === directory || path.startsWith(`${directory}/`);
}

/**
 * Does `work` in a copy of the host's mounts as they are now, with `files` over others, which nobody else sees. Other mounts travel to
 * and from the copy as their propagation has it. It lives as long as what has a descriptor of it, or was started in it.
 */
function inPrivateMounts<T>(files: readonly FileOver[], work: () => T): T {
  return visit(
    () => named("unshare", "mount namespace", () => checked("unshare", unshare(CLONE_NEWNS))),
    () => {
      named("private mounts", files.map(({ target }) => target).join(", "), () => {
        for (const { source, target } of files) {
          isolate(dirname(target));
          applyMount({ op: "mount", source, target, flags: ["bind"] });
        }
      });
      return work();
    },
  );
}

/** Does `work` in the namespace that `enter` brings this thread into, and comes back. */
function visit<T>(enter: () => void, work: () => T): T {
  const home = openSync(SELF, "r");
  try {
    enter();
    try {
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
