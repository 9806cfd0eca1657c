/** What an overlay's upper directory changes in the layers below it, in Docker's terms (`docker diff`). */
import { type BigIntStats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { ListedFile } from "../archive/confined-root.ts";
import type { Change } from "./snapshotter.ts";

export interface LowerTree {
  /** Directories of the layers, topmost first. Nothing changes them, so that they need no wall. */
  readonly directories: readonly string[];
  /** `security.capability` of a file as hexadecimal; "" for none. */
  readonly capability: (path: string) => Promise<string>;
}

/**
 * Compares as Docker does: a file changed when its type, mode, owner, size, time or capability did; a directory when its
 * mode or owner did, or anything inside. What lay below a directory that is now a file goes unsaid.
 */
export async function upperChanges(upper: readonly ListedFile[], lower: LowerTree): Promise<readonly Change[]> {
  const changes: Changes = new Map();
  await compareDirectory(
    childrenByParent(upper),
    { path: "", below: lower.directories, opaque: false },
    lower,
    changes,
  );
  return inOrder(changes);
}

/** The same of what was found by someone else, parents before children: what is changed inside a directory changes it. */
export function withParents(found: Iterable<Change>): readonly Change[] {
  const changes: Changes = new Map();
  for (const { kind, path } of found) changed(changes, path.replace(/^\/+/, ""), kind);
  return inOrder(changes);
}

function inOrder(changes: Changes): readonly Change[] {
  return [...changes]
    .map(([path, kind]): Change => ({ kind, path: `/${path}` }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

type Children = ReadonlyMap<string, readonly ListedFile[]>;
type Changes = Map<string, Change["kind"]>;

/** A merged directory. */
interface Directory {
  readonly path: string;
  /** The layers' directories that it had before. */
  readonly below: readonly string[];
  /** None of the old ones shows through any more: it or a parent is opaque. */
  readonly opaque: boolean;
}

async function compareDirectory(
  upper: Children,
  directory: Directory,
  lower: LowerTree,
  changes: Changes,
): Promise<void> {
  const { path, below, opaque } = directory;
  const files = upper.get(path) ?? [];
  for (const file of files) {
    const old = await findBelow(below, file.path.slice(path === "" ? 0 : path.length + 1));
    if (isWhiteout(file)) {
      if (old !== undefined) changed(changes, file.path, "deleted");
      continue;
    }
    if (old === undefined) changed(changes, file.path, "added");
    else if (await differs(file, old, lower)) changed(changes, file.path, "modified");
    if (file.kind !== "directory") continue;
    const inside = { path: file.path, below: old?.directories ?? [], opaque: opaque || file.opaque };
    await compareDirectory(upper, inside, lower, changes);
  }
  if (!opaque) return;
  const kept = new Set(files.map((file) => file.path));
  for (const name of await mergedNames(below)) {
    const child = path === "" ? name : `${path}/${name}`;
    if (!kept.has(child)) changed(changes, child, "deleted");
  }
}

/** Records a change, and that its parents are changed by it. */
function changed(changes: Changes, path: string, kind: Change["kind"]): void {
  changes.set(path, kind);
  for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
    const parent = path.slice(0, at);
    if (changes.has(parent)) return;
    changes.set(parent, "modified");
  }
}

interface Found {
  readonly path: string;
  readonly stat: BigIntStats;
  /** What a directory consists of, topmost first; empty for other files. */
  readonly directories: readonly string[];
}

/** Looks a name up as overlayfs does: the topmost one wins, directories merge until something hides what is below. */
async function findBelow(directories: readonly string[], name: string): Promise<Found | undefined> {
  let found: { readonly path: string; readonly stat: BigIntStats } | undefined;
  const parts: string[] = [];
  for (const directory of directories) {
    const path = join(directory, name);
    const stat = await lstatOrUndefined(path);
    if (stat === undefined) continue;
    if (!stat.isDirectory()) {
      const whiteout = stat.isCharacterDevice() && stat.rdev === 0n;
      if (found === undefined && !whiteout) found = { path, stat };
      break;
    }
    found ??= { path, stat };
    parts.push(path);
  }
  return found === undefined ? undefined : { ...found, directories: parts };
}

async function mergedNames(directories: readonly string[]): Promise<readonly string[]> {
  const names = new Map<string, boolean>();
  for (const directory of directories) {
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      if (names.has(entry.name)) continue;
      const stat = entry.isCharacterDevice() ? await lstatOrUndefined(join(directory, entry.name)) : undefined;
      names.set(entry.name, stat?.rdev !== 0n);
    }
  }
  return [...names].filter(([, visible]) => visible).map(([name]) => name);
}

async function differs(file: ListedFile, old: Found, lower: LowerTree): Promise<boolean> {
  const { stat } = old;
  if (kindOf(stat) !== file.kind || Number(stat.mode) % 0o10000 !== file.mode) return true;
  if (Number(stat.uid) !== file.uid || Number(stat.gid) !== file.gid) return true;
  if (file.kind === "directory") return false;
  if (stat.mtimeNs !== file.mtimeNs || Number(stat.size) !== file.size) return true;
  if (file.kind !== "file") return false;
  return (await lower.capability(old.path)) !== file.capability;
}

function isWhiteout(file: ListedFile): boolean {
  return file.kind === "char" && file.deviceMajor === 0 && file.deviceMinor === 0;
}

function kindOf(stat: BigIntStats): ListedFile["kind"] {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isCharacterDevice()) return "char";
  if (stat.isBlockDevice()) return "block";
  return stat.isFIFO() ? "fifo" : "socket";
}

function childrenByParent(files: readonly ListedFile[]): Children {
  const children = new Map<string, ListedFile[]>();
  for (const file of files) {
    const parent = file.path.slice(0, Math.max(file.path.lastIndexOf("/"), 0));
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [file]);
    else siblings.push(file);
  }
  return children;
}

async function lstatOrUndefined(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
