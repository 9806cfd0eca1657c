import { describe, expect, it } from "vitest";
import { jsonPieces } from "./json-pieces.ts";

const rowsOf = (count: number, length: number) =>
  Array.from({ length: count }, (_, index) => JSON.stringify({ index, text: "x".repeat(length) }));

describe("a list in pieces", () => {
  it("is one piece when it is short, and nothing but brackets when it is empty", () => {
    expect([...jsonPieces([])]).toEqual(["[]"]);
    expect([...jsonPieces(['{"a":1}', "2"])]).toEqual(['[{"a":1},2]']);
  });

  it("is the same array, in pieces of bounded length", () => {
    const rows = rowsOf(500, 700);
    const pieces = [...jsonPieces(rows)];
    expect(pieces.length).toBeGreaterThan(4);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(65 * 1024);
    expect(JSON.parse(pieces.join(""))).toEqual(rows.map((row): unknown => JSON.parse(row)));
  });

  it("keeps a row whole that is longer than a piece", () => {
    const rows = rowsOf(3, 100_000);
    expect(JSON.parse([...jsonPieces(rows)].join(""))).toHaveLength(3);
  });
});
