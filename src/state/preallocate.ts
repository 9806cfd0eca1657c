import { closeSync, fstatSync, openSync, writeSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";

/** Above what the log grows to before it is begun anew (`wal_autocheckpoint`: 1000 pages of 4 KiB and their headers). */
const logBytes = 4.5 * 1024 * 1024;
/** Pages of 4 KiB for new records. */
const sparePages = 1024;

/**
 * Gives the database the blocks that its next changes will be written to. So what has happened can be recorded on a full disk as
 * well: the end of a container, the undoing of an operation that met no room for its files. (Where a file system never writes a
 * block in place, as btrfs, only {@link DiskReserve} helps.)
 */
export function preallocate(db: DatabaseSync, path: string): void {
  try {
    growDatabase(db);
    growLog(`${path}-wal`);
  } catch {
    // No room for that either: it is tried again when the records are opened next.
  }
}

/** A table that is filled and dropped again leaves its pages to the next ones. Written first, so that they are no holes. */
function growDatabase(db: DatabaseSync): void {
  const spare = Number(db.prepare("PRAGMA freelist_count").get()?.["freelist_count"] ?? 0);
  if (spare >= sparePages / 2) return;
  db.exec(`CREATE TABLE spare (body BLOB); INSERT INTO spare VALUES (zeroblob(${sparePages * 4096}));`);
  try {
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  } finally {
    db.exec("DROP TABLE spare");
  }
}

/** What follows the log's last valid frame is no part of it (sqlite.org/fileformat2.html, section 4): zeros are ignored. */
function growLog(path: string): void {
  const file = openSync(path, "r+");
  try {
    const { size } = fstatSync(file);
    if (size < logBytes) writeSync(file, Buffer.alloc(logBytes - size), 0, undefined, size);
  } finally {
    closeSync(file);
  }
}
