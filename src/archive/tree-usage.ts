import { components } from "./path-walker.ts";
import { toBinary } from "./tar-entry.ts";
import type { TreeFiles } from "./tree-files.ts";

/**
 * Bytes that the tree at `path` takes on its file system, as `du -x` counts: blocks of everything, directories too, each file once
 * however many names it has; holes take none, and what is mounted inside is another file system's. What vanishes on the way, or was
 * never there, takes nothing.
 */
export function diskUsage(files: TreeFiles, path: string): number {
  const start = `/${components(toBinary(path)).join("/")}`;
  const top = files.blocks(start);
  if (top === undefined) return 0;
  const seen = new Set<string>();
  const below = (directory: string): number => {
    let bytes = 0;
    for (const name of files.readdirOrNone(directory)) {
      const full = `${directory}/${name}`;
      const found = files.blocks(full);
      if (found === undefined || found.device !== top.device) continue;
      if (found.identity !== undefined) {
        if (seen.has(found.identity)) continue;
        seen.add(found.identity);
      }
      bytes += found.bytes;
      if (found.isDirectory) bytes += below(full);
    }
    return bytes;
  };
  return top.bytes + (top.isDirectory ? below(start) : 0);
}
