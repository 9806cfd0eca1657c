import type { TSchema } from "typebox";

/** The engine's records: durable, transactional, small. One SQLite file under the data root; `fake` is the same in memory. */

/** Records of one kind, held in memory and written through: reads never touch the disk. */
export interface Collection<T> {
  get(id: string): T | undefined;
  list(): readonly T[];
  /** Inserts or replaces. Validated against the collection's schema when read back at start. */
  put(id: string, record: T): void;
  delete(id: string): void;
}

export interface Store extends Disposable {
  /** The collection `name`, whose records are validated with `schema` when the store is opened. */
  collection<T>(name: string, schema: TSchema): Collection<T>;
  /** All changes of `work` in one commit, or none when it throws. `durable` (default true) waits for the disk. */
  transaction<T>(work: () => T, options?: { readonly durable?: boolean }): T;
  /**
   * Resolves when everything that was committed before is on the disk. Not on the main thread, and once for all who wait: what an
   * operation commits with `durable: false` and flushes before it answers is as safe as a durable commit, which blocks.
   */
  flush(): Promise<void>;
  readonly journal: Journal;
}

/**
 * What is about to be done to the outside world, written before its first effect, so that start-up can finish or undo it.
 * `kind` names the recovery routine: "snapshot.commit", "instance.start", "network.create", ...
 */
export interface Journal {
  begin(kind: string, subject: string, details: Record<string, unknown>): JournalEntry;
  /** Entries that no one has ended: the work of a killed engine. */
  open(): readonly OpenJournalEntry[];
}

export interface JournalEntry {
  readonly id: number;
  /** The operation is done or wholly undone. */
  end(): void;
}

export interface OpenJournalEntry extends JournalEntry {
  readonly kind: string;
  readonly subject: string;
  readonly details: Record<string, unknown>;
}
