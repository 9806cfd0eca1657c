import { setTimeout as sleep } from "node:timers/promises";

/** The calls that are being handled. Closing an engine under them would cut their roll-back off as well. */
export class CallsInFlight {
  readonly #calls = new Set<Promise<unknown>>();

  async track<T>(call: Promise<T>): Promise<T> {
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
    }
  }

  /** Resolves when none is left, or after `limitMs`; says how many are. */
  async settled(limitMs: number): Promise<number> {
    const waiting = new AbortController();
    const limit = sleep(limitMs, undefined, { signal: waiting.signal, ref: false }).catch(() => undefined);
    while (this.#calls.size > 0) {
      const ended = await Promise.race([Promise.allSettled(this.#calls).then(() => true), limit.then(() => false)]);
      if (!ended) break;
    }
    waiting.abort();
    return this.#calls.size;
  }
}
