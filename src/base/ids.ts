import { randomBytes } from "node:crypto";

/** A new 64-digit hexadecimal id, as Docker gives to containers, networks and exec sessions. */
export function newId(): string {
  for (;;) {
    const id = randomBytes(32).toString("hex");
    // An all-digit prefix reads as a number in tools that take "id or count"; Docker avoids it as well.
    if (!/^\d{12}/.test(id)) return id;
  }
}

/** The 12 digits that tables show. Strips a `sha256:` prefix. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, 12);
}
