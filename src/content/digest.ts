import { createHash } from "node:crypto";
import { contentErrors } from "./errors.ts";

/** `sha256:<hex>` of some bytes. */
export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The hex part of a digest; `BLOB_DIGEST_INVALID` for anything that is not one, so that no other name reaches the disk. */
export function hexOf(digest: string): string {
  const match = /^sha256:([0-9a-f]{64})$/.exec(digest);
  if (match?.[1] === undefined) throw contentErrors.BLOB_DIGEST_INVALID({ digest });
  return match[1];
}
