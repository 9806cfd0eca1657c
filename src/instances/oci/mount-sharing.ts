import { readFile, realpath } from "node:fs/promises";
import type { ResolvedMount } from "../driver.ts";
import { ociErrors } from "./errors.ts";

/** Refuses a bind that asks for a propagation which its source's mount can't give (`MOUNT_NOT_SHARED`). */
export async function requirePropagation(mounts: readonly ResolvedMount[]): Promise<void> {
  const asking = mounts.flatMap((mount) => {
    const need = neededBy(mount);
    return need === undefined ? [] : [{ path: mount.source, need }];
  });
  if (asking.length === 0) return;
  const table = parseMountinfo(await readFile("/proc/self/mountinfo", "utf8"));
  for (const { path, need } of asking) {
    const mount = mountOf(await realpath(path), table);
    if (!need.tags.some((tag) => mount.tags.includes(tag))) {
      throw ociErrors.MOUNT_NOT_SHARED({ path, mountpoint: mount.target, need: need.words });
    }
  }
}

interface Need {
  readonly words: string;
  readonly tags: readonly string[];
}

function neededBy(mount: ResolvedMount): Need | undefined {
  if (mount.type !== "bind") return undefined;
  if (mount.options.some((option) => option === "shared" || option === "rshared")) {
    return { words: "shared", tags: ["shared"] };
  }
  return mount.options.some((option) => option === "slave" || option === "rslave")
    ? { words: "shared or slave", tags: ["shared", "master"] }
    : undefined;
}

interface Mountpoint {
  readonly target: string;
  /** Names of the optional fields (proc_pid_mountinfo(5)): "shared", "master". */
  readonly tags: readonly string[];
}

function parseMountinfo(text: string): readonly Mountpoint[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [before = ""] = line.split(" - ");
      const fields = before.split(" ");
      const target = (fields[4] ?? "/").replaceAll(/\\(\d{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      );
      return { target, tags: fields.slice(6).map((field) => field.split(":")[0] ?? "") };
    });
}

/** The mount that `path` lies on: the deepest, and of several there the last. */
function mountOf(path: string, table: readonly Mountpoint[]): Mountpoint {
  let best: Mountpoint = { target: "/", tags: [] };
  for (const mount of table) {
    const holds = mount.target === "/" || path === mount.target || path.startsWith(`${mount.target}/`);
    if (holds && mount.target.length >= best.target.length) best = mount;
  }
  return best;
}
