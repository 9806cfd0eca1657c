/** docs/compatibility.md, from the kept results and the reasons. */
import { wantedAndAnswered } from "./answers.ts";
import { asDocker, reasonOf, type Reasons } from "./reasons.ts";
import { countSkipped, type SuiteResults } from "./results.ts";

export interface ReportedSuite {
  readonly name: string;
  readonly about: string;
  readonly reasons: Reasons;
  readonly berth: SuiteResults;
  /** What other engines made of the same cases. */
  readonly others: readonly SuiteResults[];
}

/** Of a longer group only the files are told. */
const namesListed = 12;

export function compatibilityReport(suites: readonly ReportedSuite[]): string {
  return `${[
    "# Compatibility",
    "",
    "<!-- Written by `npm run conformance` from conformance/results/ and conformance/reasons/; not by hand. -->",
    "",
    "Suites that others wrote, run as they are against Berth: `npm run conformance -- [SUITE…]` (`--help` tells more). Their sources come from Debian or",
    "from a path given with `--source` and are not part of Berth. The images they name are stand-ins (a busybox, mostly) in a real registry on loopback;",
    "nothing reaches the internet. *Skipped* cases count neither way; every failure has its reason below, and so has every group of skipped cases.",
    "Where Docker itself was run on the same cases, with the same stand-ins, its outcome stands beside ours.",
    "",
    ...summary(suites),
    ...suites.flatMap(section),
  ].join("\n")}\n`;
}

function summary(suites: readonly ReportedSuite[]): readonly string[] {
  return [
    "| suite | passed | failed | skipped | of those run | of those that Docker passes | Docker |",
    "|---|---|---|---|---|---|---|",
    ...suites.map(({ name, berth, others }) => {
      const docker = dockerOf(others);
      const cells = [
        `[${name}](#${name})`,
        berth.passed,
        Object.keys(berth.failed).length,
        countSkipped(berth),
        share(berth),
        docker === undefined ? "" : shareOfTheirs(berth, docker),
        docker === undefined ? "not run" : share(docker),
      ];
      return `| ${cells.join(" | ")} |`;
    }),
  ];
}

function section({ name, about, reasons, berth, others }: ReportedSuite): readonly string[] {
  const failures = Object.entries(berth.failed);
  const docker = dockerOf(others);
  const lines = ["", `## ${name}`, `${about} ${berth.source}; Berth ${berth.engineVersion}, ${berth.date}.`];
  for (const other of others) {
    lines.push(
      `${title(other.engine)} ${other.engineVersion}, ${other.date}: ${other.passed} passed, ${Object.keys(other.failed).length} failed, ${countSkipped(other)} skipped.`,
    );
  }
  if (failures.length > 0) {
    lines.push(
      "",
      `| fails | why |${docker === undefined ? "" : " Docker |"}`,
      `|---|---|${docker === undefined ? "" : "---|"}`,
    );
    for (const [failure] of failures) {
      const theirs = docker === undefined ? "" : ` ${outcomeOf(failure, docker)} |`;
      lines.push(`| ${cell(`\`${failure}\``)} | ${cell(why(failure, { reasons, berth, docker }))} |${theirs}`);
    }
  }
  const skipped = Object.entries(berth.skipped);
  if (skipped.length > 0) {
    lines.push("", "| skipped | cases |", "|---|---|");
    for (const [reason, names] of skipped) lines.push(`| ${cell(reason)} | ${cell(listed(names))} |`);
  }
  return lines;
}

interface Told {
  readonly reasons: Reasons;
  readonly berth: SuiteResults;
  readonly docker: SuiteResults | undefined;
}

function why(failure: string, { reasons, berth, docker }: Told): string {
  const reason = reasonOf(failure, reasons) ?? "**no reason yet**";
  if (reason !== asDocker) return reason;
  const theirs = docker?.failed[failure];
  if (theirs === undefined) return "**as Docker, it was said, which does not fail it**";
  return wantedAndAnswered(berth.failed[failure] ?? "", theirs) ?? "Docker fails it as well.";
}

/** All of them, or of many how many there are in each file: what stands before the first space or colon. */
function listed(names: readonly string[]): string {
  if (names.length <= namesListed) return `${names.length}: ${names.join(", ")}`;
  const counts = new Map<string, number>();
  for (const name of names) {
    const [file = name] = name.split(/[: ]/, 1);
    counts.set(file, (counts.get(file) ?? 0) + 1);
  }
  return `${names.length}: ${[...counts].map(([file, count]) => `${file} (${count})`).join(", ")}`;
}

function dockerOf(others: readonly SuiteResults[]): SuiteResults | undefined {
  return others.find(({ engine }) => engine === "docker");
}

function share({ passed, failed }: SuiteResults): string {
  return percent(passed, passed + Object.keys(failed).length);
}

/** Of the cases that the other engine passes, how many we do. A case that one of the two skipped counts in neither. */
function shareOfTheirs(ours: SuiteResults, theirs: SuiteResults): string {
  const theirSkips = new Set(Object.values(theirs.skipped).flat());
  const ourSkips = new Set(Object.values(ours.skipped).flat());
  const failures = Object.keys(ours.failed).filter(
    (name) => theirs.failed[name] === undefined && !theirSkips.has(name),
  );
  const skippedByUsOnly = [...ourSkips].filter((name) => theirs.failed[name] === undefined && !theirSkips.has(name));
  const all = theirs.passed - skippedByUsOnly.length;
  return percent(all - failures.length, all);
}

function outcomeOf(name: string, results: SuiteResults): string {
  if (results.failed[name] !== undefined) return "fails";
  return Object.values(results.skipped).some((names) => names.includes(name)) ? "skipped" : "passes";
}

function percent(part: number, whole: number): string {
  return whole === 0 ? "" : `${(Math.floor((part / whole) * 1000) / 10).toFixed(1)} %`;
}

function title(engine: string): string {
  return engine.charAt(0).toUpperCase() + engine.slice(1);
}

/** Text in a cell of a table: one line, no bars of its own. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
