import { expect, test } from "vitest";
import { collectResults, differences } from "./results.ts";

test("a case that ends otherwise than in the run that is kept is told; one that only one run has is not", () => {
  const facts = { suite: "s", engine: "berth", engineVersion: "1", source: "s 1" };
  const kept = collectResults(facts, [
    { name: "a", outcome: "passed" },
    { name: "b", outcome: "failed", detail: "no" },
    { name: "c", outcome: "skipped", reason: "why" },
    { name: "gone", outcome: "passed" },
  ]);
  const run = collectResults(facts, [
    { name: "a", outcome: "failed", detail: "now" },
    { name: "b", outcome: "passed" },
    { name: "c", outcome: "skipped", reason: "another" },
    { name: "new", outcome: "failed", detail: "" },
  ]);
  expect(differences(kept, run)).toEqual([
    { name: "b", before: "failed", now: "passed" },
    { name: "a", before: "passed", now: "failed" },
  ]);
});
