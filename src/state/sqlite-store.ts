import { DatabaseSync, type StatementSync } from "node:sqlite";
import { Compile, type Validator } from "typebox/compile";
import type { TSchema } from "typebox";
import { messageOf } from "../base/errors.ts";
import { failpoints } from "../host/failpoints.ts";
import { DiskReserve } from "./disk-reserve.ts";
import { stateErrors } from "./errors.ts";
import { LogFlusher } from "./log-flusher.ts";
import { migrations } from "./migrations.ts";
import { preallocate } from "./preallocate.ts";
import type { Collection, Journal, OpenJournalEntry, Store } from "./store.ts";

/**
 * Opens (or makes) the records at `path`. `STATE_UNREADABLE`, `STATE_TOO_NEW`; later `STATE_DISK_FULL` when even the reserve
 * (see `disk-reserve.ts`) is used up.
 *
 * WAL with `synchronous=FULL`: a commit returns once it is on the disk. A transaction with `durable: false` lowers that for
 * itself; it is ordered before every later durable one and can only be lost by a power cut, never by a kill of the engine.
 */
export function openSqliteStore(path: string): Store {
  const reserve = new DiskReserve(`${path}-reserve`);
  try {
    return whileDiskIsFull(reserve, () => new SqliteStore(path, reserve));
  } catch (error) {
    if (error instanceof Error && error.name === "BerthError") throw error;
    throw stateErrors.STATE_UNREADABLE({ path, reason: messageOf(error) }, { cause: error });
  }
}

class SqliteStore implements Store {
  readonly journal: Journal;
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;
  readonly #reserve: DiskReserve;
  readonly #flusher: LogFlusher;
  readonly #path: string;
  #depth = 0;

  constructor(path: string, reserve: DiskReserve) {
    this.#reserve = reserve;
    this.#path = path;
    this.#flusher = new LogFlusher(`${path}-wal`);
    this.#db = new DatabaseSync(path, { timeout: 5000 });
    // Locked for good, as the data root is in any case: the log's index is in memory of its own then. In a mapped file, which it would be,
    // a full disk is a SIGBUS (https://www.sqlite.org/wal.html#noshm); file systems with blocks below 4 KiB really run into that.
    this.#db.exec(
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000;",
    );
    this.#migrate(path);
    this.#put = this.#db.prepare("INSERT OR REPLACE INTO records (collection, id, body) VALUES (?, ?, ?)");
    this.#delete = this.#db.prepare("DELETE FROM records WHERE collection = ? AND id = ?");
    this.journal = new SqliteJournal(this.#db, (work) => this.transaction(work));
    reserve.fill();
    preallocate(this.#db, path);
  }

  collection<T>(name: string, schema: TSchema): Collection<T> {
    const validator = Compile(schema);
    const records = new Map<string, T>();
    const rows = this.#db.prepare("SELECT id, body FROM records WHERE collection = ?").all(name);
    for (const row of rows) {
      const id = String(row["id"]);
      records.set(id, readRecord(validator, name, id, String(row["body"])) as T);
    }
    return new SqliteCollection<T>(name, records, this.#put, this.#delete, (undo) => {
      if (this.#depth > 0) this.#undone.push(undo);
    });
  }

  /** What to do to the in-memory copies when the running transaction is rolled back. */
  #undone: (() => void)[] = [];

  transaction<T>(work: () => T, options: { readonly durable?: boolean } = {}): T {
    if (this.#depth > 0) return work();
    try {
      return whileDiskIsFull(this.#reserve, () => this.#transaction(work, options));
    } catch (error) {
      if (isDiskFull(error)) throw stateErrors.STATE_DISK_FULL({ path: this.#path }, { cause: error });
      throw error;
    }
  }

  #transaction<T>(work: () => T, options: { readonly durable?: boolean }): T {
    const relaxed = options.durable === false;
    if (relaxed) this.#db.exec("PRAGMA synchronous=NORMAL");
    this.#depth++;
    this.#undone = [];
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      const result = work();
      if (failpoints.on) failpoints.beforeSync("state.commit", this.#path, lockedDatabase);
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      for (const undo of this.#undone.reverse()) undo();
      throw error;
    } finally {
      this.#undone = [];
      this.#depth--;
      if (relaxed) this.#db.exec("PRAGMA synchronous=FULL");
    }
  }

  flush(): Promise<void> {
    return this.#flusher.flush();
  }

  [Symbol.dispose](): void {
    this.#flusher[Symbol.dispose]();
    if (this.#db.isOpen) this.#db.close();
  }

  #migrate(path: string): void {
    const found = Number(this.#db.prepare("PRAGMA user_version").get()?.["user_version"] ?? 0);
    if (found > migrations.length) throw stateErrors.STATE_TOO_NEW({ path, found, known: migrations.length });
    for (const [version, step] of migrations.entries()) {
      if (version < found) continue;
      this.#db.exec(`BEGIN IMMEDIATE; ${step} PRAGMA user_version=${version + 1}; COMMIT;`);
    }
  }
}

class SqliteCollection<T> implements Collection<T> {
  readonly #name: string;
  readonly #records: Map<string, T>;
  readonly #putRow: StatementSync;
  readonly #deleteRow: StatementSync;
  readonly #onRollback: (undo: () => void) => void;

  constructor(
    name: string,
    records: Map<string, T>,
    putRow: StatementSync,
    deleteRow: StatementSync,
    onRollback: (undo: () => void) => void,
  ) {
    this.#name = name;
    this.#records = records;
    this.#putRow = putRow;
    this.#deleteRow = deleteRow;
    this.#onRollback = onRollback;
  }

  get(id: string): T | undefined {
    return this.#records.get(id);
  }

  list(): readonly T[] {
    return [...this.#records.values()];
  }

  put(id: string, record: T): void {
    this.#putRow.run(this.#name, id, JSON.stringify(record));
    this.#restoreOnRollback(id);
    this.#records.set(id, record);
  }

  delete(id: string): void {
    this.#deleteRow.run(this.#name, id);
    this.#restoreOnRollback(id);
    this.#records.delete(id);
  }

  #restoreOnRollback(id: string): void {
    const before = this.#records.get(id);
    this.#onRollback(() => {
      if (before === undefined) this.#records.delete(id);
      else this.#records.set(id, before);
    });
  }
}

class SqliteJournal implements Journal {
  readonly #begin: StatementSync;
  readonly #end: StatementSync;
  readonly #open: StatementSync;
  readonly #inTransaction: <T>(work: () => T) => T;

  constructor(db: DatabaseSync, inTransaction: <T>(work: () => T) => T) {
    this.#begin = db.prepare("INSERT INTO journal (kind, subject, details) VALUES (?, ?, ?)");
    this.#end = db.prepare("DELETE FROM journal WHERE id = ?");
    this.#open = db.prepare("SELECT id, kind, subject, details FROM journal ORDER BY id");
    this.#inTransaction = inTransaction;
  }

  begin(kind: string, subject: string, details: Record<string, unknown>): OpenJournalEntry {
    const id = this.#inTransaction(() =>
      Number(this.#begin.run(kind, subject, JSON.stringify(details)).lastInsertRowid),
    );
    return this.#entry(id, kind, subject, details);
  }

  open(): readonly OpenJournalEntry[] {
    return this.#open
      .all()
      .map((row) =>
        this.#entry(Number(row["id"]), String(row["kind"]), String(row["subject"]), JSON.parse(String(row["details"]))),
      );
  }

  #entry(id: number, kind: string, subject: string, details: Record<string, unknown>): OpenJournalEntry {
    return { id, kind, subject, details, end: () => this.#inTransaction(() => void this.#end.run(id)) };
  }
}

/** SQLITE_BUSY: what a program that reads the file for too long would cause. */
function lockedDatabase(): Error {
  return Object.assign(new Error("database is locked"), { code: "ERR_SQLITE_ERROR", errcode: 5 });
}

/** Does `work` again with the reserve given up, when there was no room for it. */
function whileDiskIsFull<T>(reserve: DiskReserve, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isDiskFull(error) || !reserve.release()) throw error;
    return work();
  }
}

/** SQLITE_FULL; and SQLITE_IOERR, which is what a full disk is for the file of shared memory. */
function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error && "errcode" in error) || typeof error.errcode !== "number") return false;
  const primary = error.errcode & 0xff;
  return primary === 13 || primary === 10;
}

function readRecord(validator: Validator, collection: string, id: string, body: string): unknown {
  const record: unknown = JSON.parse(body);
  if (!validator.Check(record)) {
    const first = validator.Errors(record)[0];
    const reason = first === undefined ? "unknown" : `${first.instancePath || "/"} ${first.message}`;
    throw stateErrors.RECORD_INVALID({ collection, id, reason });
  }
  return record;
}
