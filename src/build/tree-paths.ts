/** Paths in trees: symbolic links followed inside the root, wildcards, excluded files. */
import { lstat, readdir } from "node:fs/promises";
import { join, posix } from "node:path";
import type { ConfinedRoot, FileStat } from "../archive/confined-root.ts";
import { isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { IgnorePatterns } from "../dockerfile/dockerignore.ts";
import { compilePathPattern } from "../dockerfile/glob.ts";
import { buildErrors } from "./errors.ts";

/** What COPY needs of a tree. */
export type ReadableRoot = Pick<ConfinedRoot, "stat" | "digest" | "pack">;

/** What is in a directory of a tree, by its path there; nothing when it is none. Links are not followed. */
export type ListDirectory = (
  path: string,
) => Promise<readonly { readonly name: string; readonly isDirectory: boolean }[]>;

/** Of the tree at `directory` on the host. */
export function listBelow(directory: string): ListDirectory {
  return async (path) => {
    try {
      const full = join(directory, path);
      if (!(await lstat(full)).isDirectory()) return [];
      const entries = await readdir(full, { withFileTypes: true });
      return entries.map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }));
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
      throw error;
    }
  };
}

export interface ResolvedPath {
  /** Absolute inside the root, free of symbolic links as far as it exists. */
  readonly path: string;
  /** Undefined when there is nothing. */
  readonly stat: FileStat | undefined;
}

/** Follows every symbolic link of `path` inside the root, as a process chrooted there would. */
export async function resolvePath(
  ctx: OpContext,
  root: Pick<ConfinedRoot, "stat">,
  path: string,
): Promise<ResolvedPath> {
  const pending = path.split("/");
  let at = "/";
  let stat = await statOrUndefined(ctx, root, "/");
  let links = 0;
  for (let word = pending.shift(); word !== undefined; word = pending.shift()) {
    if (word === "" || word === ".") continue;
    const next = posix.join(at, word);
    stat = await statOrUndefined(ctx, root, next);
    if (stat?.kind !== "symlink") {
      at = next;
      continue;
    }
    if (++links > maxLinks) {
      throw buildErrors.BUILD_CONTEXT_INVALID({ reason: `too many levels of symbolic links: ${path}` });
    }
    if (stat.linkTarget.startsWith("/")) at = "/";
    pending.unshift(...stat.linkTarget.split("/"));
    stat = await statOrUndefined(ctx, root, at);
  }
  return { path: at, stat };
}

/** Whether Docker takes it for a pattern: an unescaped `*`, `?` or `[`. */
export function hasWildcards(path: string): boolean {
  return /(?<!\\)(?:\\\\)*[*?[]/.test(path);
}

/** Paths in the tree that match, in order. Wildcards don't cross slashes, and symbolic links to directories are not entered. */
export async function matchWildcards(list: ListDirectory, pattern: string): Promise<readonly string[]> {
  const segments = posix.normalize(pattern).split("/").filter(Boolean);
  let found = [""];
  for (const segment of segments) {
    const glob = compilePathPattern(segment);
    const next: string[] = [];
    for (const parent of found) {
      const names = (await list(parent)).map(({ name }) => name);
      for (const name of names.sort()) {
        if (glob.matches(name)) next.push(posix.join(parent, name));
      }
    }
    found = next;
  }
  return found;
}

/**
 * What to leave out of a directory of the tree: paths relative to it, each standing for everything below it.
 * A directory stays when something in it is taken back in by an exception. `prefix` is where it lies for the patterns.
 */
export async function excludedPaths(
  list: ListDirectory,
  directory: string,
  patterns: IgnorePatterns,
  prefix = "",
): Promise<readonly string[]> {
  return patterns.isEmpty ? [] : (await excludedBelow(list, directory, patterns, prefix, "")).excluded;
}

async function excludedBelow(
  list: ListDirectory,
  directory: string,
  patterns: IgnorePatterns,
  prefix: string,
  at: string,
): Promise<{ readonly keepsAny: boolean; readonly excluded: readonly string[] }> {
  const excluded: string[] = [];
  let keepsAny = false;
  for (const entry of await list(posix.join(directory, at))) {
    const path = posix.join(at, entry.name);
    const ignored = patterns.ignores(posix.join(prefix, path));
    if (!entry.isDirectory || (ignored && !patterns.hasExceptions)) {
      if (ignored) excluded.push(path);
      else keepsAny = true;
      continue;
    }
    const below = await excludedBelow(list, directory, patterns, prefix, path);
    if (ignored && !below.keepsAny) excluded.push(path);
    else {
      keepsAny = true;
      excluded.push(...below.excluded);
    }
  }
  return { keepsAny, excluded };
}

async function statOrUndefined(
  ctx: OpContext,
  root: Pick<ConfinedRoot, "stat">,
  path: string,
): Promise<FileStat | undefined> {
  try {
    return await root.stat(ctx, path);
  } catch (error) {
    if (isBerthError(error, "PATH_NOT_FOUND", "PATH_NOT_DIRECTORY")) return undefined;
    throw error;
  }
}

/** As the kernel's. */
const maxLinks = 40;
