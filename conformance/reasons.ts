/** Why a case fails: reasons/SUITE.json, written by hand and reviewed. A key is a case's name; `*` in it stands for anything. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { SuiteResults } from "./results.ts";

/** The reason of a case that Docker fails as well: the report tells what it wants, and what the two answer. */
export const asDocker = "As Docker.";

export type Reasons = Readonly<Record<string, string>>;

export interface Judgement {
  /** Failures that nobody has explained. */
  readonly unexplained: readonly string[];
  /** Reasons of which no case fails any more. */
  readonly stale: readonly string[];
}

/** How the reason of a case begins that fails in some runs and passes in others: it is never stale. */
const sometimes = "Sometimes: ";

export async function readReasons(suite: string): Promise<Reasons> {
  const file = new URL(`reasons/${suite}.json`, import.meta.url);
  return existsSync(file) ? (JSON.parse(await readFile(file, "utf8")) as Reasons) : {};
}

export function reasonOf(name: string, reasons: Reasons): string | undefined {
  const key = keyOf(name, reasons);
  return key === undefined ? undefined : reasons[key];
}

/** Whether it fails in some runs only. */
export function isSometimes(name: string, reasons: Reasons): boolean {
  return reasonOf(name, reasons)?.startsWith(sometimes) === true;
}

export function judge({ failed }: Pick<SuiteResults, "failed">, reasons: Reasons): Judgement {
  const used = new Set<string>();
  const unexplained: string[] = [];
  for (const name of Object.keys(failed)) {
    const key = keyOf(name, reasons);
    if (key === undefined) unexplained.push(name);
    else used.add(key);
  }
  const stale = Object.entries(reasons).filter(([key, reason]) => !used.has(key) && !reason.startsWith(sometimes));
  return { unexplained, stale: stale.map(([key]) => key) };
}

/** A name itself goes before patterns, and patterns by their order in the file. */
function keyOf(name: string, reasons: Reasons): string | undefined {
  if (reasons[name] !== undefined) return name;
  return Object.keys(reasons).find((key) => key.includes("*") && matches(key, name));
}

function matches(pattern: string, name: string): boolean {
  const parts = pattern.split("*");
  const [first = ""] = parts;
  const last = parts.at(-1) ?? "";
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false;
  let from = first.length;
  for (const part of parts.slice(1, -1)) {
    const at = name.indexOf(part, from);
    if (at < 0 || at + part.length > name.length - last.length) return false;
    from = at + part.length;
  }
  return true;
}
