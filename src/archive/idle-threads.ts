/** Worker threads that are kept for a while after use, since starting one costs about 35 ms of a CPU. */
export interface ReusableThread {
  readonly alive: boolean;
  readonly idle: boolean;
  terminate(): Promise<void>;
}

const LINGER_MS = 10_000;

export class IdleThreads<T extends ReusableThread> implements AsyncDisposable {
  readonly #limit: number;
  readonly #idle: { readonly thread: T; readonly expiry: NodeJS.Timeout }[] = [];

  /** Keeps at most `limit` threads. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  take(): T | undefined {
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      clearTimeout(kept.expiry);
      if (kept.thread.alive) return kept.thread;
    }
    return undefined;
  }

  /** Keeps the thread, or ends it when it is still busy, broken or one too many. */
  async giveBack(thread: T): Promise<void> {
    if (!thread.alive || !thread.idle || this.#idle.length >= this.#limit) return await thread.terminate();
    const expiry = setTimeout(() => {
      const at = this.#idle.findIndex((kept) => kept.thread === thread);
      if (at >= 0) this.#idle.splice(at, 1);
      void thread.terminate();
    }, LINGER_MS);
    expiry.unref();
    this.#idle.push({ thread, expiry });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { thread, expiry } of this.#idle.splice(0)) {
      clearTimeout(expiry);
      await thread.terminate();
    }
  }
}
