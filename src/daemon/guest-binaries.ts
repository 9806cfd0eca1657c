import { existsSync } from "node:fs";
import { join } from "node:path";

/** Directory that guest/build.sh builds into: beside the built program, which the sources find from where they are. */
export function guestBinaries(): string {
  const beside = join(import.meta.dirname, "guest");
  return existsSync(join(beside, "berth-vmm")) ? beside : join(import.meta.dirname, "../../dist/guest");
}
