import type { OpContext } from "../base/op-context.ts";

/** Bytes done so far, and all where known. */
export type ByteProgress = (current: number, total: number | undefined) => void;

interface Running<T> {
  readonly result: Promise<T>;
  readonly followers: Set<ByteProgress>;
  readonly abort: AbortController;
  waiters: number;
}

/**
 * Work that several callers want at the same time is done once: the later ones follow its progress and share its result.
 * It is given up when the last of them has gone.
 */
export class SharedWork<T> {
  readonly #running = new Map<string, Running<T>>();

  async run(
    ctx: OpContext,
    key: string,
    onProgress: ByteProgress,
    work: (ctx: OpContext, onProgress: ByteProgress) => Promise<T>,
  ): Promise<T> {
    ctx.signal.throwIfAborted();
    const running = this.#running.get(key) ?? this.#start(ctx, key, work);
    running.waiters += 1;
    running.followers.add(onProgress);
    const { promise: gone, reject } = Promise.withResolvers<never>();
    const leave = () => reject(ctx.signal.reason);
    ctx.signal.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([running.result, gone]);
    } finally {
      ctx.signal.removeEventListener("abort", leave);
      running.followers.delete(onProgress);
      running.waiters -= 1;
      if (running.waiters === 0) {
        running.abort.abort(ctx.signal.aborted ? ctx.signal.reason : undefined);
        // A newcomer must not join work that is being given up.
        if (this.#running.get(key) === running) this.#running.delete(key);
      }
    }
  }

  #start(ctx: OpContext, key: string, work: (ctx: OpContext, onProgress: ByteProgress) => Promise<T>): Running<T> {
    const abort = new AbortController();
    const followers = new Set<ByteProgress>();
    // Not the first caller's signal: the work lives on for the others when that one leaves.
    const result = work({ log: ctx.log, signal: abort.signal }, (current, total) => {
      for (const follow of followers) follow(current, total);
    });
    const running: Running<T> = { result, followers, abort, waiters: 0 };
    this.#running.set(key, running);
    const forget = () => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    };
    result.then(forget, forget);
    return running;
  }
}
