import { createHash } from "node:crypto";

/** Chain id of a layer on `parent` (image-spec config.md, "Layer ChainID"); "" is the empty stack. */
export function chainIdOn(parent: string, diffId: string): string {
  if (parent === "") return diffId;
  return `sha256:${createHash("sha256").update(`${parent} ${diffId}`).digest("hex")}`;
}
