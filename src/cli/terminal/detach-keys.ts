import { cliErrors } from "../errors.ts";

/** Watches what is typed for the keys that leave an attached container (docker's default: ctrl-p, ctrl-q). */
export class DetachKeys {
  readonly #keys: readonly number[];
  #matched = 0;

  /** `text` is docker's notation: "ctrl-p,ctrl-q", "a", "ctrl-@". */
  constructor(text = "ctrl-p,ctrl-q") {
    this.#keys = text.split(",").map(keyCode);
  }

  /** What to pass on; keys that may be the beginning of the sequence are held back until it is clear. */
  feed(chunk: Uint8Array): { readonly forward: Buffer; readonly detached: boolean } {
    const forward: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === this.#keys.length) return { forward: Buffer.from(forward), detached: true };
        continue;
      }
      forward.push(...this.#keys.slice(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) forward.push(byte);
    }
    return { forward: Buffer.from(forward), detached: false };
  }
}

function keyCode(name: string): number {
  const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(name)?.[1];
  if (control !== undefined) return control.toUpperCase().charCodeAt(0) - 64;
  if (name.length === 1) return name.charCodeAt(0);
  throw cliErrors.OPTION_INVALID({
    option: "detach-keys",
    value: name,
    reason: "a letter or ctrl-LETTER, separated by commas",
  });
}
