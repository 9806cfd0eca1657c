import { expect, it } from "vitest";
import { chordFor } from "./keys.ts";

it("types as a US keyboard does", () => {
  expect(chordFor("a")).toEqual(["a"]);
  expect(chordFor("Q")).toEqual(["shift", "q"]);
  expect(chordFor("7")).toEqual(["7"]);
  expect(chordFor("|")).toEqual(["shift", "backslash"]);
  expect(chordFor("@")).toEqual(["shift", "2"]);
  expect(chordFor("\n")).toEqual(["ret"]);
  expect(chordFor("ü")).toBeUndefined();
});
