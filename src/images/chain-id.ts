import { createHash } from "node:crypto";

/**
 * Names of the stacks that an image's layers make, bottom to top (image-spec config.md, "Layer ChainID"):
 * the first is its DiffID, each further one the digest of "<chain below> <DiffID>".
 */
export function chainIds(diffIds: readonly string[]): readonly string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256(`${below} ${diffId}`));
  }
  return chain;
}

/** Name of the whole stack; "" for none (scratch). */
export function chainId(diffIds: readonly string[]): string {
  return chainIds(diffIds).at(-1) ?? "";
}

/** Digest of bytes, in the form that descriptors have. */
export function sha256(data: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}
