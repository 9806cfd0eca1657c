import { text } from "node:stream/consumers";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { detachFilter, parseDetachKeys } from "./detach-keys.ts";

async function run(keys: readonly number[], chunks: readonly string[]) {
  let detached = false;
  const filter = detachFilter(keys, () => {
    detached = true;
  });
  for (const chunk of chunks) filter.write(Buffer.from(chunk, "latin1"));
  filter.end();
  return { passed: await text(filter), detached };
}

describe("parseDetachKeys", () => {
  it("knows letters and control keys", () => {
    expect(parseDetachKeys("")).toEqual([16, 17]);
    expect(parseDetachKeys("ctrl-a,b,ctrl-@,ctrl-]")).toEqual([1, 98, 0, 29]);
  });
  it.each(["ctrl-", "ctrl-1", "ab", "ctrl-p,,"])("refuses %s", (keys) => {
    expect(() => parseDetachKeys(keys)).toThrow("Invalid detach keys");
  });
});

describe("detachFilter", () => {
  const keys = parseDetachKeys("");

  it("detaches across chunks, and passes on neither the keys nor what follows", async () => {
    expect(await run(keys, ["ab\u0010", "\u0011cd"])).toEqual({ passed: "ab", detached: true });
  });

  it("passes the first key on when the second does not come", async () => {
    expect(await run(keys, ["a\u0010b"])).toEqual({ passed: "a\u0010b", detached: false });
    expect(await run(keys, ["a\u0010"])).toEqual({ passed: "a\u0010", detached: false });
    expect(await run(keys, ["\u0010\u0010\u0011"])).toEqual({ passed: "\u0010", detached: true });
  });

  it("changes nothing in input without the keys, however it is cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c", "\u0010") })), async (chunks) => {
        expect(await run(keys, chunks)).toEqual({ passed: chunks.join(""), detached: false });
      }),
      { numRuns: 50 },
    );
  });
});
