import { closeSync, openSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { bind, checked } from "../libc.ts";
import { RouteSocket } from "../netlink/route-socket.ts";
import { makeDirectories } from "./make-directories.ts";
import { applyMount, applyUnmount } from "./mounts.ts";

const setns = bind<(fd: number, type: number) => number>("int setns(int fd, int nstype)");
const unshare = bind<(flags: number) => number>("int unshare(int flags)");

const CLONE_NEWNET = 0x40000000;
const SELF = "/proc/thread-self/ns/net";

/** The thread could not get back to its own namespaces: it must not do anything more. */
export class NamespaceLostError extends Error {
  constructor(cause: unknown) {
    super("cannot return to the host's namespaces", { cause });
  }
}

/** A fresh namespace with `lo` up, pinned at `path`. Leaves nothing when it fails. */
export function createNetns(path: string): void {
  makeDirectories(dirname(path), 0o711);
  writeFileSync(path, "", { flag: "wx", mode: 0o444 });
  try {
    visit(
      () => checked("unshare", unshare(CLONE_NEWNET)),
      () => {
        using socket = new RouteSocket();
        socket.setUp("lo");
        applyMount({ op: "mount", source: SELF, target: path, flags: ["bind"] });
      },
    );
  } catch (error) {
    if (!(error instanceof NamespaceLostError)) unlinkSync(path);
    throw error;
  }
}

/** Unpins the namespace and removes the file. Missing is no error. */
export function removeNetns(path: string): void {
  applyUnmount({ op: "unmount", target: path, detach: true });
  try {
    unlinkSync(path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}

/** Runs `work` in the namespace pinned at `path`; without one, where the thread is. */
export function inNetns<T>(path: string | undefined, work: () => T): T {
  if (path === undefined) return work();
  const fd = openSync(path, "r");
  try {
    return visit(() => checked("setns", setns(fd, CLONE_NEWNET)), work);
  } finally {
    closeSync(fd);
  }
}

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

function goHome(home: number): void {
  try {
    checked("setns", setns(home, CLONE_NEWNET));
  } catch (error) {
    throw new NamespaceLostError(error);
  }
}
