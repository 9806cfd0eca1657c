import { createHash } from "node:crypto";
import { chainIdOn } from "../snapshots/chain-id.ts";

/** Names of the stacks that an image's layers make, bottom to top (image-spec config.md, "Layer ChainID"). */
export function chainIds(diffIds: readonly string[]): readonly string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) chain.push(chainIdOn(chain.at(-1) ?? "", diffId));
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
