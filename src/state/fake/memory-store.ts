import type { Collection, Journal, OpenJournalEntry, Store } from "../store.ts";

/** A {@link Store} that forgets: for tests. Passing the same one to a second service plays an engine's restart. */
export class MemoryStore implements Store {
  readonly journal: Journal;
  readonly #collections = new Map<string, Map<string, unknown>>();
  readonly #entries = new Map<number, OpenJournalEntry>();
  #depth = 0;
  #nextEntry = 1;

  constructor() {
    this.journal = {
      begin: (kind, subject, details) => {
        const id = this.#nextEntry++;
        const entry: OpenJournalEntry = { id, kind, subject, details, end: () => void this.#entries.delete(id) };
        this.#entries.set(id, entry);
        return entry;
      },
      open: () => [...this.#entries.values()],
    };
  }

  collection<T>(name: string): Collection<T> {
    // Looked up each time: a roll-back replaces the maps. Records are copied, as a real store's JSON would be.
    const records = () => {
      const found = this.#collections.get(name) ?? new Map<string, unknown>();
      this.#collections.set(name, found);
      return found as Map<string, T>;
    };
    return {
      get: (id) => records().get(id),
      list: () => [...records().values()],
      put: (id, record) => void records().set(id, structuredClone(record)),
      delete: (id) => void records().delete(id),
    };
  }

  transaction<T>(work: () => T): T {
    if (this.#depth > 0) return work();
    const before = new Map([...this.#collections].map(([name, records]) => [name, new Map(records)]));
    this.#depth++;
    try {
      return work();
    } catch (error) {
      this.#collections.clear();
      for (const [name, records] of before) this.#collections.set(name, records);
      throw error;
    } finally {
      this.#depth--;
    }
  }

  async flush(): Promise<void> {}

  [Symbol.dispose](): void {}
}
