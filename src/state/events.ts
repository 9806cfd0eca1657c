import type { EngineEvent } from "../schema/event.ts";

export type EventListener = (event: EngineEvent) => void;

/** The engine's events: published by every room, followed by transports. Keeps the last {@link EventBus.capacity} for `--since`. */
export class EventBus {
  readonly capacity = 1024;
  readonly #recent: EngineEvent[] = [];
  readonly #listeners = new Set<EventListener>();
  #lastNano = 0n;

  publish(event: Omit<EngineEvent, "timeNano">): void {
    // Times are unique and rising, so that `--since` of a seen event never repeats or drops one.
    const now = BigInt(Date.now()) * 1_000_000n;
    this.#lastNano = now > this.#lastNano ? now : this.#lastNano + 1n;
    const stamped: EngineEvent = { ...event, timeNano: this.#lastNano.toString() };
    this.#recent.push(stamped);
    if (this.#recent.length > this.capacity) this.#recent.shift();
    for (const listener of this.#listeners) listener(stamped);
  }

  /** Kept events, oldest first. */
  recent(): readonly EngineEvent[] {
    return this.#recent;
  }

  subscribe(listener: EventListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }
}
