import { posix } from "node:path";
import type { ConfinedRoot, FileStat } from "../../archive/confined-root.ts";
import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { instanceErrors } from "../errors.ts";

/** As the kernel's. */
const maxLinks = 40;

export interface FoundInRoot {
  /** Absolute inside the root, free of symbolic links. */
  readonly path: string;
  readonly stat: FileStat;
}

/** The file that `path` leads to when every symbolic link is followed inside `root`; undefined when there is none. */
export async function resolveInRoot(
  ctx: OpContext,
  root: ConfinedRoot,
  path: string,
): Promise<FoundInRoot | undefined> {
  let pending = words(path);
  let at = "/";
  let links = 0;
  for (let word = pending.shift(); word !== undefined; word = pending.shift()) {
    if (word === "..") {
      at = posix.dirname(at);
      continue;
    }
    const next = posix.join(at, word);
    const stat = await statIn(ctx, root, next);
    if (stat === undefined) return undefined;
    if (stat.kind !== "symlink") {
      at = next;
      continue;
    }
    if (++links > maxLinks) throw instanceErrors.TOO_MANY_LINKS({ path });
    if (stat.linkTarget.startsWith("/")) at = "/";
    pending = [...words(stat.linkTarget), ...pending];
  }
  const stat = await statIn(ctx, root, at);
  return stat === undefined ? undefined : { path: at, stat };
}

/** Names of a path, without "." and empty ones. */
export function words(path: string): string[] {
  return path.split("/").filter((word) => word !== "" && word !== ".");
}

export async function statIn(ctx: OpContext, root: ConfinedRoot, path: string): Promise<FileStat | undefined> {
  try {
    return await root.stat(ctx, path);
  } catch (error) {
    if (isBerthError(error, "PATH_NOT_FOUND")) return undefined;
    throw error;
  }
}
