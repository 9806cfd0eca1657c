/**
 * One waiting line for each key: operations on the same container wait for each other, others do not.
 *
 *     using _ = await locks.acquire(id);
 */
export class KeyedMutex {
  readonly #tails = new Map<string, Promise<void>>();

  /** Waits for the key's turn. Dispose the result to let the next one in. */
  async acquire(key: string): Promise<Disposable> {
    const before = this.#tails.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    const tail = before === undefined ? promise : before.then(() => promise);
    this.#tails.set(key, tail);
    await before;
    return {
      [Symbol.dispose]: () => {
        resolve();
        if (this.#tails.get(key) === tail) this.#tails.delete(key);
      },
    };
  }

  /** Runs `work` while holding `key`. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    using _held = await this.acquire(key);
    return await work();
  }
}
