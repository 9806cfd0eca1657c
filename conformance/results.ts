/** What a run found, kept in results/SUITE.ENGINE.json: the report is written from these files and the reasons. */
import { readFile, readdir, writeFile } from "node:fs/promises";
import type { CaseResult } from "./suite.ts";

const directory = new URL("results/", import.meta.url);

export interface SuiteResults {
  readonly suite: string;
  /** "berth", or what `--engine-name` says. */
  readonly engine: string;
  /** The engine's own version. */
  readonly engineVersion: string;
  readonly source: string;
  readonly date: string;
  readonly passed: number;
  /** Of Berth's own runs: what a later run is held against. */
  readonly passedNames?: readonly string[];
  readonly failed: Readonly<Record<string, string>>;
  /** Names by the reason for which they were skipped. */
  readonly skipped: Readonly<Record<string, readonly string[]>>;
}

export interface RunFacts {
  readonly suite: string;
  readonly engine: string;
  readonly engineVersion: string;
  readonly source: string;
}

export function collectResults(facts: RunFacts, cases: readonly CaseResult[]): SuiteResults {
  const failed: Record<string, string> = {};
  const skipped: Record<string, string[]> = {};
  const passed: string[] = [];
  for (const one of cases) {
    switch (one.outcome) {
      case "passed":
        passed.push(one.name);
        break;
      case "failed":
        failed[one.name] = one.detail;
        break;
      case "skipped":
        (skipped[one.reason] ??= []).push(one.name);
        break;
    }
  }
  const names = facts.engine === "berth" ? { passedNames: passed } : {};
  return { ...facts, date: new Date().toISOString().slice(0, 10), passed: passed.length, ...names, failed, skipped };
}

export function countSkipped({ skipped }: SuiteResults): number {
  return Object.values(skipped).reduce((sum, names) => sum + names.length, 0);
}

export interface Difference {
  readonly name: string;
  readonly before: CaseResult["outcome"];
  readonly now: CaseResult["outcome"];
}

/** Cases of both runs that ended otherwise. Of a run that kept no names of what passed, those that passed are not known. */
export function differences(kept: SuiteResults, run: SuiteResults): readonly Difference[] {
  const before = outcomes(kept);
  return [...outcomes(run)].flatMap(([name, now]) => {
    const then = before.get(name);
    return then === undefined || then === now ? [] : [{ name, before: then, now }];
  });
}

function outcomes({ passedNames = [], failed, skipped }: SuiteResults): ReadonlyMap<string, CaseResult["outcome"]> {
  return new Map([
    ...passedNames.map((name) => [name, "passed"] as const),
    ...Object.keys(failed).map((name) => [name, "failed"] as const),
    ...Object.values(skipped).flatMap((names) => names.map((name) => [name, "skipped"] as const)),
  ]);
}

export async function saveResults(results: SuiteResults): Promise<void> {
  await writeFile(
    new URL(`${results.suite}.${results.engine}.json`, directory),
    `${JSON.stringify(results, undefined, 2)}\n`,
  );
}

/** All that is kept, by suite and then engine. */
export async function readResults(): Promise<readonly SuiteResults[]> {
  const files = (await readdir(directory)).filter((name) => name.endsWith(".json")).sort();
  return await Promise.all(
    files.map(async (name) => JSON.parse(await readFile(new URL(name, directory), "utf8")) as SuiteResults),
  );
}
