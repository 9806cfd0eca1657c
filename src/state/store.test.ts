import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Type } from "typebox";
import { afterEach, beforeEach, expect, it } from "vitest";
import { MemoryStore } from "./fake/memory-store.ts";
import { openSqliteStore } from "./sqlite-store.ts";
import { storeContract } from "./store.contract.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-store-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

storeContract("the SQLite store", () => {
  const [data, copy] = [join(directory, "data"), join(directory, "copy")];
  mkdirSync(data);
  const store = openSqliteStore(join(data, "state.db"));
  // What a killed engine leaves on the disk; the one that lives has its own locked.
  const reopen = () => {
    cpSync(data, copy, { recursive: true });
    return openSqliteStore(join(copy, "state.db"));
  };
  return { store, reopen };
});
storeContract("the memory store", () => {
  const store = new MemoryStore();
  return { store, reopen: () => store };
});

it("refuses records that don't fit their schema, by name", () => {
  const path = join(directory, "state.db");
  {
    using store = openSqliteStore(path);
    store.collection("things", Type.Object({})).put("x", { size: "big" });
  }
  const schema = Type.Object({ size: Type.Integer() });
  using store = openSqliteStore(path);
  expect(() => store.collection("things", schema)).toThrow(/record x of things .*size/);
});

it("has no mapped file, in which a full disk would be a SIGBUS", () => {
  using store = openSqliteStore(join(directory, "state.db"));
  store.collection("things", Type.Object({})).put("x", {});
  expect(existsSync(join(directory, "state.db-wal"))).toBe(true);
  expect(existsSync(join(directory, "state.db-shm"))).toBe(false);
});

it("refuses a file that is not a database, and one of a newer version", () => {
  const broken = join(directory, "broken.db");
  writeFileSync(broken, "this is not SQLite, but long enough to look like a header".repeat(20));
  expect(() => openSqliteStore(broken)).toThrow(expect.objectContaining({ code: "STATE_UNREADABLE" }));
  const newer = join(directory, "newer.db");
  new DatabaseSync(newer).exec("PRAGMA user_version=99");
  expect(() => openSqliteStore(newer)).toThrow(expect.objectContaining({ code: "STATE_TOO_NEW" }));
});
