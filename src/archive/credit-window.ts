/** Back-pressure over a message port: a piece is sent only while fewer than `size` are under way. */
export class CreditWindow {
  #credits: number;
  #closed = false;
  #waiting: (() => void) | undefined;

  constructor(size: number) {
    this.#credits = size;
  }

  /** The other side took a piece. */
  give(): void {
    this.#credits++;
    this.#wake();
  }

  /** No one takes anything any more: waiting and later takers get false. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  /** Waits until a piece may be sent; false when the window was closed. One taker at a time. */
  async take(): Promise<boolean> {
    if (this.#credits === 0 && !this.#closed) await new Promise<void>((resolve) => (this.#waiting = resolve));
    if (this.#closed) return false;
    this.#credits--;
    return true;
  }

  #wake(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}
