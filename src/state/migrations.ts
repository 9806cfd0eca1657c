/**
 * The database's history: step `n` turns version `n` into `n + 1`. Steps are never edited once released, only added;
 * SQLite's `user_version` says how many have run.
 */
export const migrations: readonly string[] = [
  `CREATE TABLE records (
     collection TEXT NOT NULL,
     id TEXT NOT NULL,
     body TEXT NOT NULL,
     PRIMARY KEY (collection, id)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE journal (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     kind TEXT NOT NULL,
     subject TEXT NOT NULL,
     details TEXT NOT NULL
   ) STRICT;`,
];
