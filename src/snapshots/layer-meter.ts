import { createHash } from "node:crypto";
import type { TarEntry } from "../archive/tar-entry.ts";
import { TarParser } from "../archive/tar-parser.ts";

/** Digest and size of a layer's tar as it passes by; the size as Docker counts it, with the targets of symbolic links. */
export class LayerMeter {
  readonly #hash = createHash("sha256");
  readonly #parser: TarParser;
  #size = 0;

  /** Of at most `maxBytes`; beyond it `feed` throws `ARCHIVE_TOO_LARGE`. */
  constructor(maxBytes = Infinity) {
    const count = {
      entry: ({ type, size, linkName }: TarEntry) => void (this.#size += type === "symlink" ? linkName.length : size),
      data() {},
      endEntry() {},
    };
    this.#parser = new TarParser(count, { maxBytes, maxEntries: Infinity });
  }

  feed(chunk: Buffer): void {
    this.#hash.update(chunk);
    this.#parser.feed(chunk);
  }

  /** The tar is complete. */
  finish(): { readonly diffId: string; readonly size: number } {
    this.#parser.end();
    return { diffId: `sha256:${this.#hash.digest("hex")}`, size: this.#size };
  }
}
