/** Size of a tree that a container may be changing at the same time. */
import { constants } from "node:fs";
import { type FileHandle, lstat, open, readdir } from "node:fs/promises";

/**
 * Bytes of the regular files under `directory`, each counted once however many names it has. Directories are entered through
 * descriptors, never by a path that could meanwhile lead through a symbolic link. What vanishes on the way is not counted.
 */
export async function treeSize(directory: string): Promise<number> {
  await using top = await openDirectory(directory);
  return top === undefined ? 0 : await sizeOf(top, new Set());
}

async function sizeOf(directory: FileHandle, seen: Set<string>): Promise<number> {
  let bytes = 0;
  const path = `/proc/self/fd/${directory.fd}`;
  for (const name of await readdir(path)) {
    const found = await orGone(lstat(`${path}/${name}`));
    if (found === undefined) continue;
    if (found.isDirectory()) {
      await using child = await openDirectory(`${path}/${name}`);
      if (child !== undefined) bytes += await sizeOf(child, seen);
    } else if (found.isFile()) {
      const inode = `${found.dev}:${found.ino}`;
      if (found.nlink > 1 && seen.has(inode)) continue;
      if (found.nlink > 1) seen.add(inode);
      bytes += found.size;
    }
  }
  return bytes;
}

function openDirectory(path: string): Promise<FileHandle | undefined> {
  return orGone(open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW));
}

async function orGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    // ENOTDIR and ELOOP: it was a directory a moment ago, and something else has taken its place.
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP") return undefined;
    throw error;
  }
}
