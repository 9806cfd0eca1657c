import { lstatSync } from "node:fs";
import { join } from "node:path";
import { mkdirSync, symlinkSync, writeFileSync } from "../host/files.ts";

/**
 * What every container's root needs to be there to be mounted over, and images need not have. It lies beneath the layers: were
 * the runtime to make it, it would show up in `diff` and be a part of each committed layer. Returns its path.
 */
export function makeRootSkeleton(dataRoot: string): string {
  const root = join(dataRoot, "skeleton");
  for (const directory of ["dev", "etc", "proc", "sys"])
    mkdirSync(join(root, directory), { recursive: true, mode: 0o755 });
  for (const file of ["hostname", "hosts", "resolv.conf"]) writeFileSync(join(root, "etc", file), "", { mode: 0o644 });
  // As Docker has it: where programs look for what is mounted.
  const mtab = join(root, "etc", "mtab");
  if (lstatSync(mtab, { throwIfNoEntry: false }) === undefined) symlinkSync("/proc/mounts", mtab);
  return root;
}
