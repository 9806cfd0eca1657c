/**
 * Resolves paths inside a root component by component, so that `..` and absolute links stay inside also where no wall
 * stands (the fake), and so that a link of the archive's own making can be judged before it is followed.
 */
import { archiveErrors } from "./errors.ts";
import { fromBinary } from "./tar-entry.ts";
import type { TreeFiles, TreeStat } from "./tree-files.ts";

export interface WalkRules {
  /** Makes what is missing; without it missing is `PATH_NOT_FOUND`. */
  readonly onMissing?: (path: string) => void;
  /** May refuse to follow a link by throwing. */
  readonly onLink?: (path: string, target: string) => void;
  /** May put a directory where something else is (and return true); else that is `PATH_NOT_DIRECTORY`. */
  readonly onOther?: (path: string, stat: TreeStat) => boolean;
}

const MAX_LINKS = 40;

/**
 * The directory that `path` names when walked from the directory `from`, following every link: its canonical path, "" for the root.
 * An absolute `path` starts at the root.
 */
export function walkDirectory(files: TreeFiles, from: string, path: string, rules: WalkRules = {}): string {
  let directory = path.startsWith("/") ? "" : from;
  const pending = components(path).toReversed();
  let links = 0;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === "..") {
      directory = directory.slice(0, Math.max(directory.lastIndexOf("/"), 0));
      continue;
    }
    const next = `${directory}/${name}`;
    const stat = files.lstat(next);
    if (stat === undefined) {
      if (rules.onMissing === undefined) throw archiveErrors.PATH_NOT_FOUND({ path: fromBinary(path) });
      rules.onMissing(next);
      directory = next;
    } else if (stat.kind === "directory") {
      directory = next;
    } else if (stat.kind === "symlink") {
      if (++links > MAX_LINKS) throw archiveErrors.PATH_TOO_MANY_LINKS({ path: fromBinary(path) });
      const target = files.readlink(next);
      rules.onLink?.(next, target);
      if (target.startsWith("/")) directory = "";
      pending.push(...components(target).toReversed());
    } else if (rules.onOther?.(next, stat) === true) {
      directory = next;
    } else {
      throw archiveErrors.PATH_NOT_DIRECTORY({ path: fromBinary(next) });
    }
  }
  return directory;
}

/** Where `path` lies: its parent is walked, its last component is not followed unless asked. May name what does not exist yet. */
export function resolvePath(files: TreeFiles, path: string, follow = false): string {
  let at = path;
  let from = "";
  for (let links = 0; links <= MAX_LINKS; links++) {
    const parts = components(at);
    const last = parts.pop();
    if (last === undefined || last === "..") return walkDirectory(files, from, at);
    const parent = walkDirectory(files, at.startsWith("/") ? "" : from, parts.join("/"));
    const full = `${parent}/${last}`;
    if (!follow || files.lstat(full)?.kind !== "symlink") return full;
    from = parent;
    at = files.readlink(full);
  }
  throw archiveErrors.PATH_TOO_MANY_LINKS({ path: fromBinary(path) });
}

/** Whether a link at the relative path `link` (no `..`) with this target leads out of the tree, by its text alone. */
export function leadsOutside(link: string, target: string): boolean {
  if (target.startsWith("/")) return true;
  let depth = components(link).length - 1;
  for (const name of components(target)) {
    depth += name === ".." ? -1 : 1;
    if (depth < 0) return true;
  }
  return false;
}

/** Without empty and "." components. */
export function components(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}
