/** Bases go with the last machine that needs them, whoever removes it: Docker's API knows machines as containers. */
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { MachineParts } from "./parts.ts";

export class BaseCollection {
  readonly #parts: MachineParts;
  #subscription: Disposable | undefined;
  #collecting: Promise<void> = Promise.resolve();

  constructor(parts: MachineParts) {
    this.#parts = parts;
  }

  follow(ctx: OpContext): void {
    const { events, bases } = this.#parts;
    this.#subscription = events.subscribe(({ type, action }) => {
      if (type !== "container" || action !== "destroy" || !bases.hasAny()) return;
      this.#collecting = this.#collecting.then(() => this.#collect(ctx));
    });
  }

  async close(): Promise<void> {
    this.#subscription?.[Symbol.dispose]();
    await this.#collecting;
  }

  async #collect(ctx: OpContext): Promise<void> {
    try {
      await this.#parts.bases.collect();
    } catch (error) {
      ctx.log.warn({ error: messageOf(error) }, "bases that no machine needs stay until the next start");
    }
  }
}
