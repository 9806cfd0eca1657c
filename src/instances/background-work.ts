import { messageOf } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";

/** Work that nobody waits for at once, but closing does: clean-up after an exit, restarts by policy. */
export class BackgroundWork {
  readonly #log: Logger;
  readonly #running = new Set<Promise<void>>();
  readonly #closing = new AbortController();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Aborted when the engine closes: sleeps and waits end. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Starts `work`; a failure is logged under `name`, since nobody else will hear of it. */
  run(name: string, work: () => Promise<void>): void {
    const running = work()
      .catch((error: unknown) => {
        if (!this.closing.aborted) this.#log.error({ work: name, error: messageOf(error) }, "background work failed");
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Acts on the outcome of something that may take for ever, which {@link settled} and {@link close} don't wait for. */
  watch<T>(name: string, outcome: Promise<T>, act: (value: T) => void): void {
    outcome.then(act).catch((error: unknown) => {
      if (!this.closing.aborted) this.#log.error({ work: name, error: messageOf(error) }, "lost sight of a process");
    });
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("the engine is closing"));
    await this.settled();
  }
}
