import { createHash } from "node:crypto";
import { TarParser } from "../archive/tar-parser.ts";

/** Digest and file bytes of a layer's tar as it passes by. */
export class LayerMeter {
  readonly #hash = createHash("sha256");
  readonly #parser: TarParser;
  #size = 0;

  constructor() {
    const count = {
      entry: (entry: { readonly size: number }) => void (this.#size += entry.size),
      data() {},
      endEntry() {},
    };
    this.#parser = new TarParser(count, { maxBytes: Infinity, maxEntries: Infinity });
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
