import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
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
  const path = join(directory, "state.db");
  return { store: openSqliteStore(path), reopen: () => openSqliteStore(path) };
});
storeContract("the memory store", () => {
  const store = new MemoryStore();
  return { store, reopen: () => store };
});

it("refuses records that don't fit their schema, by name", () => {
  const path = join(directory, "state.db");
  openSqliteStore(path).collection("things", Type.Object({})).put("x", { size: "big" });
  const schema = Type.Object({ size: Type.Integer() });
  expect(() => openSqliteStore(path).collection("things", schema)).toThrow(/record x of things .*size/);
});

it("refuses a file that is not a database, and one of a newer version", () => {
  const broken = join(directory, "broken.db");
  writeFileSync(broken, "this is not SQLite, but long enough to look like a header".repeat(20));
  expect(() => openSqliteStore(broken)).toThrow(expect.objectContaining({ code: "STATE_UNREADABLE" }));
  const newer = join(directory, "newer.db");
  new DatabaseSync(newer).exec("PRAGMA user_version=99");
  expect(() => openSqliteStore(newer)).toThrow(expect.objectContaining({ code: "STATE_TOO_NEW" }));
});
