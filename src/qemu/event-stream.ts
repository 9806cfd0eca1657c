import type { QmpEvent } from "./qmp-client.ts";

/** Events that wait for a reader who is slower than QEMU; older ones are dropped. */
const maxWaiting = 1000;

/** One subscription: an iterator over the events from when it was made, until it is disposed or the connection ends. */
export class EventStream implements AsyncIterableIterator<QmpEvent>, Disposable {
  readonly #onEnd: (stream: EventStream) => void;
  #waiting: QmpEvent[] = [];
  #reader: ((result: IteratorResult<QmpEvent>) => void) | undefined;
  #isOver = false;

  constructor(onEnd: (stream: EventStream) => void) {
    this.#onEnd = onEnd;
  }

  push(event: QmpEvent): void {
    if (this.#isOver) return;
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader !== undefined) {
      reader({ done: false, value: event });
      return;
    }
    this.#waiting.push(event);
    if (this.#waiting.length > maxWaiting) this.#waiting.shift();
  }

  /** No more come; those that wait are still read. */
  end(): void {
    this.#isOver = true;
    this.#reader?.({ done: true, value: undefined });
    this.#reader = undefined;
    this.#onEnd(this);
  }

  async next(): Promise<IteratorResult<QmpEvent>> {
    const event = this.#waiting.shift();
    if (event !== undefined) return { done: false, value: event };
    if (this.#isOver) return { done: true, value: undefined };
    return await new Promise((resolve) => {
      this.#reader = resolve;
    });
  }

  async return(): Promise<IteratorResult<QmpEvent>> {
    this.#waiting = [];
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [Symbol.dispose](): void {
    this.#waiting = [];
    this.end();
  }
}
