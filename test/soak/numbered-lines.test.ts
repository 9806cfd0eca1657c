import { expect, it } from "vitest";
import { faultInLines } from "./numbered-lines.ts";

it.each([
  ["", true, undefined],
  ["line 1\nline 2\n", true, undefined],
  ["line 1\nline 2\nline 1\nline 2\n", true, undefined],
  ["line 7\nline 8\n", false, undefined],
  ["line 2\n", true, "line 2 follows line 0"],
  ["line 1\nline 3\n", true, "line 3 follows line 1"],
  ["line 1\nline 1line 2\n", true, '"line 1line 2" is no whole line'],
  ["line 1\nline", true, 'it ends within a line: "line"'],
])("%j from the start: %s", (text, fromStart, fault) => expect(faultInLines(text, { fromStart })).toBe(fault));

it("lets lines be missing at a seam, once, and never come twice", () => {
  const faultAtSeam = (text: string) => faultInLines(text, { fromStart: true, seam: true });
  expect(faultAtSeam("line 1\nline 3\nline 4\n")).toBeUndefined();
  expect(faultAtSeam("line 1\nline 3\nline 5\n")).toBe("line 5 follows line 3");
  expect(faultAtSeam("line 1\nline 2\nline 2\n")).toBe("line 2 follows line 2");
});
