/** What the report is about: each suite's kept results beside its reasons. */
import { readReasons } from "./reasons.ts";
import type { ReportedSuite } from "./report.ts";
import { readResults } from "./results.ts";
import { allSuites } from "./suites/all-suites.ts";

/** Suites that were never run against Berth are left out. */
export async function readReported(): Promise<readonly ReportedSuite[]> {
  const results = await readResults();
  const suites = allSuites.map(async ({ name, about }) => {
    const berth = results.find(({ suite, engine }) => suite === name && engine === "berth");
    if (berth === undefined) return [];
    const others = results.filter(({ suite, engine }) => suite === name && engine !== "berth");
    return [{ name, about, reasons: await readReasons(name), berth, others }];
  });
  return (await Promise.all(suites)).flat();
}
