/** The table of docs/machines.md that tells what machines have in common with containers, made from the cases that ran on both. */
import { differences } from "./differences.ts";

export interface ParityArea {
  readonly title: string;
  /** Names of its cases, in their order. */
  readonly cases: readonly string[];
}

const begin = "<!-- parity: made by test/e2e/machine-parity.test.ts with RECORD=1 -->";
const end = "<!-- /parity -->";

export function parityTable(areas: readonly ParityArea[]): string {
  const rows = areas.flatMap(({ title, cases }) =>
    cases.map((name, index) => `| ${index === 0 ? title : ""} | ${name} | ${verdict(name)} |`),
  );
  return ["| | case | as a machine |", "|---|---|---|", ...rows].join("\n");
}

/** The text with the table in its place. */
export function withTable(text: string, table: string): string {
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from === -1 || to < from) throw new Error(`docs/machines.md has no place for the table: ${begin} … ${end}`);
  return `${text.slice(0, from)}${begin}\n${table}\n${text.slice(to)}`;
}

function verdict(name: string): string {
  const reason = differences[name];
  return reason === undefined ? "the same" : `**otherwise**: ${reason}`;
}
