import type { WaitResult } from "./instance-service.ts";

/** An end is "exited" always, and "stopped" unless a restart by its policy follows. */
type Occasion = "exited" | "stopped" | "removed";

/** Who waits for one instance to stop or to be removed. No lock is ever taken to wait. */
export class WaitBoard {
  readonly #waiting: Record<Occasion, Set<(result: WaitResult) => void>> = {
    exited: new Set(),
    stopped: new Set(),
    removed: new Set(),
  };

  /** Resolves at the next such occasion; rejects with the signal's reason when that comes first. */
  next(occasion: Occasion, signal?: AbortSignal): Promise<WaitResult> {
    const waiting = this.#waiting[occasion];
    const { promise, resolve, reject } = Promise.withResolvers<WaitResult>();
    if (signal?.aborted === true) return Promise.reject(reasonOf(signal));
    const onAbort = () => {
      waiting.delete(done);
      if (signal !== undefined) reject(reasonOf(signal));
    };
    const done = (result: WaitResult) => {
      signal?.removeEventListener("abort", onAbort);
      resolve(result);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    waiting.add(done);
    return promise;
  }

  /** It has ended, and its policy starts it again. */
  exited(result: WaitResult): void {
    this.#tell("exited", result);
  }

  stopped(result: WaitResult): void {
    this.#tell("exited", result);
    this.#tell("stopped", result);
  }

  /** Being removed ends every wait. */
  removed(result: WaitResult): void {
    this.#tell("exited", result);
    this.#tell("stopped", result);
    this.#tell("removed", result);
  }

  #tell(occasion: Occasion, result: WaitResult): void {
    const waiting = [...this.#waiting[occasion]];
    this.#waiting[occasion].clear();
    for (const done of waiting) done(result);
  }
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error("the wait was given up");
}
