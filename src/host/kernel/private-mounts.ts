import { closeSync, openSync } from "node:fs";
import { bind, checked } from "../libc.ts";
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

/**
 * A copy of the host's mounts as they are now, with `files` over others, which nobody else sees. Nothing travels between the
 * copy and the host. It lives as long as the descriptor that is returned, and what was started in it.
 */
export function openPrivateMounts(files: readonly FileOver[]): number {
  const home = openSync(SELF, "r");
  try {
    named("unshare", "mount namespace", () => checked("unshare", unshare(CLONE_NEWNS)));
    try {
      return named("private mounts", files.map(({ target }) => target).join(", "), () => {
        applyMount({ op: "mount", source: "none", target: "/", flags: ["rprivate"] });
        for (const { source, target } of files) applyMount({ op: "mount", source, target, flags: ["bind"] });
        return openSync(SELF, "r");
      });
    } finally {
      goHome(home);
    }
  } finally {
    closeSync(home);
  }
}

function goHome(home: number): void {
  try {
    checked("setns", setns(home, CLONE_NEWNS));
  } catch (error) {
    throw new NamespaceLostError(error);
  }
}
