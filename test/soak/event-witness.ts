/** Listens to an engine's events as long as it lives: what was acknowledged meanwhile has to be among them. */
import { setTimeout as sleep } from "node:timers/promises";
import { jsonValues } from "../../src/client/json-lines.ts";
import type { EngineClient } from "../../src/client/engine-client.ts";

interface Expected {
  readonly event: string;
  readonly at: number;
}

/** An event of something that was answered so shortly before the end may have died on the way. */
const graceMs = 1500;

export class EventWitness implements Disposable {
  readonly #client: EngineClient;
  readonly #seen = new Set<string>();
  #expected: Expected[] = [];
  #count = 0;

  private constructor(client: EngineClient) {
    this.#client = client;
  }

  static async start(client: EngineClient): Promise<EventWitness> {
    const witness = new EventWitness(client);
    const { body } = await client.stream("GET", "/events");
    void witness.#listen(jsonValues(body));
    return witness;
  }

  /** Events that came. */
  get count(): number {
    return this.#count;
  }

  /** Something was acknowledged that has this event: "container start <id>". */
  expect(event: string): void {
    this.#expected.push({ event, at: performance.now() });
  }

  /**
   * What did not come. An engine that lives gets some seconds for it; one that was told to end, at `endBegan`, sends no more events,
   * though it finishes and answers the calls that are under way.
   */
  async missing(endBegan?: number): Promise<readonly string[]> {
    const until = performance.now() + (endBegan === undefined ? 5000 : 0);
    const missing = () =>
      this.#expected.filter(
        ({ event, at }) => !this.#seen.has(event) && (endBegan === undefined || at < endBegan - graceMs),
      );
    while (missing().length > 0 && performance.now() < until) await sleep(50);
    const result = missing();
    this.#expected = [];
    this.#seen.clear();
    return result.map(({ event }) => `no event: ${event}`);
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  async #listen(events: AsyncGenerator): Promise<void> {
    try {
      for await (const event of events) {
        const { Type, Action, Actor } = event as { Type: string; Action: string; Actor: { ID: string } };
        this.#count++;
        this.#seen.add(`${Type} ${Action} ${Actor.ID}`);
      }
    } catch {
      // The engine ended; `missing` says whether too early.
    }
  }
}
