import { expect, test } from "vitest";
import { judge, reasonOf } from "./reasons.ts";

test("a failure without a reason is told, and so is a reason without a failure", () => {
  const failed = { "GET /a": "", "GET /b": "", "GET /c [1]": "" };
  const reasons = { "GET /a": "why", "GET /c*": "why not", "GET /d": "long gone" };
  expect(judge({ failed }, reasons)).toEqual({ unexplained: ["GET /b"], stale: ["GET /d"] });
});

test.each([
  ["images*json", "images/x/json", true],
  ["images*json", "images/x/json2", false],
  ["*test", "a test", true],
  ["ab*ba", "aba", false],
  ["a*b*c", "axxbxxc", true],
  ["a*b*c", "axxcxxb", false],
  ["a.c*", "abc", false],
])("%s matches %s: %s", (pattern, name, matches) => {
  expect(reasonOf(name, { [pattern]: "why" })).toBe(matches ? "why" : undefined);
});

test("a case that fails sometimes may pass", () => {
  expect(judge({ failed: {} }, { a: "Sometimes: a race of the test's own" }).stale).toEqual([]);
});

test("a name itself goes before a pattern", () => {
  expect(reasonOf("ab", { "a*": "pattern", ab: "name" })).toBe("name");
});
