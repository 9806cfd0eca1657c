import { setTimeout as delay } from "node:timers/promises";

/** Time, as a seam: tests drive a fake one. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms`, or rejects with the signal's reason when it is aborted first. Does not keep the process alive. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal) => {
    try {
      await delay(ms, undefined, signal === undefined ? { ref: false } : { signal, ref: false });
    } catch (error) {
      // Node's own AbortError only has the reason as its cause.
      signal?.throwIfAborted();
      throw error;
    }
  },
};
