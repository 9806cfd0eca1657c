/** The benchmark's command line. */
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { allCases } from "./cases/all-cases.ts";
import type { BenchCase } from "./case.ts";

export interface BenchOptions {
  /** Peers, in the order of the table's columns. */
  readonly peers: readonly { readonly name: string; readonly host: string }[];
  readonly cases: readonly BenchCase[];
  readonly rounds: number;
  readonly directory: string;
  readonly buildx: string | undefined;
  readonly daemonFlags: readonly string[];
  readonly write: string | undefined;
  readonly json: string | undefined;
  readonly against: string | undefined;
}

export const usage = `Usage: npm run bench -- [OPTIONS]

Measure Berth (as built in dist/, with its default settings) beside other engines that have a Docker API. Needs root.

Options:
      --engine NAME=HOST   A peer, e.g. docker=unix:///run/docker.sock (repeat; targets are held against the one named "docker")
      --only CASES         Some cases only, by commas: ${allCases.map(({ name }) => name).join(", ")}
      --rounds N           Rounds of the quick cases; slow ones do a third or fewer (default 11)
      --directory DIR      Where Berth's private data root is made; use the peers' file system (default: the system's temporary directory)
      --buildx FILE        The buildx plug-in to measure builds of the peers with
      --daemon-flag FLAG   A further flag of \`berth daemon\`, to measure a setting (repeat)
      --write FILE         Write the table as Markdown
      --json FILE          Write all samples
      --against FILE       Say what changed since the run that wrote FILE
  -h, --help               This text

Cases:
${allCases.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join("\n")}
`;

/** Reads the words after \`--\`. Undefined when only help was asked for; throws what is wrong with them. */
export function parseOptions(words: readonly string[]): BenchOptions | undefined {
  const { values } = parseArgs({
    args: [...words],
    options: {
      engine: { type: "string", multiple: true, default: [] },
      only: { type: "string" },
      rounds: { type: "string", default: "11" },
      directory: { type: "string", default: tmpdir() },
      buildx: { type: "string" },
      "daemon-flag": { type: "string", multiple: true, default: [] },
      write: { type: "string" },
      json: { type: "string" },
      against: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds ${values.rounds}: not a number above 0`);
  return {
    peers: values.engine.map(peer),
    cases: values.only === undefined ? allCases.filter(({ onRequest }) => onRequest !== true) : selected(values.only),
    rounds,
    directory: values.directory,
    buildx: values.buildx,
    daemonFlags: values["daemon-flag"],
    write: values.write,
    json: values.json,
    against: values.against,
  };
}

function peer(word: string): { readonly name: string; readonly host: string } {
  const [, name, host] = /^([\w.-]+)=(.+)$/.exec(word) ?? [];
  if (name === undefined || host === undefined) throw new Error(`--engine ${word}: expected NAME=HOST`);
  if (name === "berth")
    throw new Error(`--engine ${word}: "berth" is the engine of this tree; call another build otherwise`);
  return { name, host };
}

function selected(names: string): readonly BenchCase[] {
  const wanted = names.split(",").map((name) => name.trim());
  const unknown = wanted.filter((name) => allCases.every((known) => known.name !== name));
  if (unknown.length > 0) {
    throw new Error(`--only: no case ${unknown.join(", ")}; there are ${allCases.map(({ name }) => name).join(", ")}`);
  }
  return allCases.filter(({ name }) => wanted.includes(name));
}
