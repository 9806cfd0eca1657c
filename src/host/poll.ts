import koffi from "koffi";

type PollHandle = ReturnType<typeof koffi.node.poll>;

export interface PollInterest {
  readonly readable?: boolean;
  readonly writable?: boolean;
}

/**
 * Watches a descriptor on the event loop, level-triggered, and keeps the process alive while it watches. libuv allows
 * one watch for each descriptor. Stop it before closing the descriptor.
 */
export class DescriptorWatch implements Disposable {
  readonly #fd: number;
  readonly #onReady: () => void;
  #handle: PollHandle | undefined;
  #scheduled: NodeJS.Immediate | undefined;

  constructor(fd: number, onReady: () => void) {
    this.#fd = fd;
    this.#onReady = onReady;
  }

  /** From now on; replaces the interest stated before. Neither readable nor writable stops it. */
  watch(interest: PollInterest): void {
    if (interest.readable !== true && interest.writable !== true) {
      this.#handle?.stop();
      return;
    }
    if (this.#handle === undefined) {
      this.#handle = koffi.node.poll(this.#fd, interest, () => this.#schedule());
      // koffi stops watching when the handle is collected as garbage.
      active.add(this.#handle);
    } else {
      this.#handle.start(interest, () => this.#schedule());
    }
  }

  [Symbol.dispose](): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    if (this.#handle === undefined) return;
    active.delete(this.#handle);
    this.#handle.close();
    this.#handle = undefined;
  }

  /** koffi's callback runs outside of Node's: promises settled there would wait for the next event. */
  #schedule(): void {
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined;
      if (this.#handle !== undefined) this.#onReady();
    });
  }
}

const active = new Set<PollHandle>();
