import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { asDocker, judge, reasonOf } from "./reasons.ts";
import { compatibilityReport } from "./report.ts";
import { readReported } from "./reported.ts";
import type { SuiteResults } from "./results.ts";

const berth: SuiteResults = {
  suite: "s",
  engine: "berth",
  engineVersion: "1",
  source: "s 1.0",
  date: "2026-01-01",
  passed: 7,
  failed: { "a | b": "expected 1\ngot 2", c: "" },
  skipped: { "needs Swarm": ["d", "e"] },
};

test("the table counts, and holds our passes against those of Docker", () => {
  const docker = { ...berth, engine: "docker", passed: 8, failed: { c: "" } };
  const text = compatibilityReport([
    { name: "s", about: "About.", reasons: { "a*": "no | yes", c: "Docker's too" }, berth, others: [docker] },
  ]);
  expect(text).toContain("| [s](#s) | 7 | 2 | 2 | 77.7 % | 87.5 % | 88.8 % |");
  expect(text).toContain("| `a \\| b` | no \\| yes | passes |");
  expect(text).toContain("| `c` | Docker's too | fails |");
  expect(text).toContain("| needs Swarm | 2: d, e |");
});

test("docs/compatibility.md is what `npm run conformance` writes from the kept results and the reasons", async () => {
  const file = new URL("../docs/compatibility.md", import.meta.url);
  expect(await readFile(file, "utf8")).toBe(compatibilityReport(await readReported()));
});

test("every failure kept has a reason", async () => {
  for (const { name, berth, reasons } of await readReported()) {
    const { unexplained, stale } = judge(berth, reasons);
    expect({ name, unexplained, stale }).toEqual({ name, unexplained: [], stale: [] });
  }
});

test("what is said to fail with Docker as well does", async () => {
  for (const { name, berth, others, reasons } of await readReported()) {
    const docker = others.find(({ engine }) => engine === "docker");
    const said = Object.keys(berth.failed).filter((failure) => reasonOf(failure, reasons) === asDocker);
    expect({ name, wrong: said.filter((failure) => docker?.failed[failure] === undefined) }).toEqual({
      name,
      wrong: [],
    });
  }
});
