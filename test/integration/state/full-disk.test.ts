/** Records on a disk without room: what makes room again still works, and what does not fit leaves nothing. */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openSqliteStore } from "../../../src/state/sqlite-store.ts";

const Thing = Type.Object({ text: Type.String() });
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-full-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=32m", "tmpfs", directory]);
});
afterEach(() => {
  execFileSync("umount", [directory]);
  rmSync(directory, { recursive: true });
});

/** Takes what room there is. */
function fill(): void {
  const { bavail, bsize } = statfsSync(directory);
  writeFileSync(join(directory, `filler-${randomUUID()}`), Buffer.alloc(bavail * bsize));
}

it("records small changes for ever, gives its reserve up for larger ones, then refuses them whole, and has a reserve again when there is room", () => {
  const path = join(directory, "state.db");
  {
    using store = openSqliteStore(path);
    const things = store.collection<{ text: string }>("things", Thing);
    store.transaction(() => things.put("small", { text: "x" }));
    expect(existsSync(`${path}-reserve`)).toBe(true);
    fill();
    // The blocks of what is recorded all the time are there already, however long the disk is full.
    for (let change = 0; change < 3000; change++) {
      store.transaction(() => things.put("small", { text: `x${change}` }), { durable: false });
    }
    expect(existsSync(`${path}-reserve`)).toBe(true);
    const text = "y".repeat(1024 * 1024);
    store.transaction(() => things.put("large", { text: text.repeat(6) }));
    expect(existsSync(`${path}-reserve`)).toBe(false);
    fill();
    expect(() => store.transaction(() => things.put("too-large", { text: text.repeat(16) }))).toThrow(
      expect.objectContaining({ code: "STATE_DISK_FULL", status: 507 }),
    );
    store.transaction(() => things.put("small", { text: "z" }));
    expect(things.list()).toEqual([{ text: "z" }, { text: text.repeat(6) }]);
  }
  for (const name of readdirSync(directory)) if (name.startsWith("filler")) rmSync(join(directory, name));
  using store = openSqliteStore(path);
  expect(store.collection("things", Thing).list()).toHaveLength(2);
  expect(existsSync(`${path}-reserve`)).toBe(true);
});
