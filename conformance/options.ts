/** The runner's command line. */
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Suite } from "./suite.ts";
import { allSuites } from "./suites/all-suites.ts";

export interface Options {
  readonly suites: readonly Suite[];
  /** Directories that the user gave, by suite. */
  readonly sources: ReadonlyMap<string, string>;
  /** Path of another engine's socket, and what the report calls that engine. */
  readonly engine: { readonly socket: string; readonly name: string } | undefined;
  readonly only: readonly string[];
  readonly bip: string;
  readonly directory: string;
  /** Port of the registry; undefined: any. */
  readonly registryPort: number | undefined;
  /** Whether to write results and docs/compatibility.md. */
  readonly write: boolean;
  /** Only write the report again, from what is kept. */
  readonly reportOnly: boolean;
}

export const usage = `Usage: npm run conformance -- [OPTIONS] [SUITE…]

Run test suites that others wrote, unmodified, against Berth as built in dist/, and write docs/compatibility.md. Needs root.
Their sources are fetched into .cache/conformance/: from the source packages of any of Debian's releases on this host's mirror, or
from their own repositories at the revision whose outcomes are kept. The images they name are stand-ins in a registry on loopback.
A suite whose source or programs can't be had is NOT RUN, and says what was tried; one that was fetched in another version than the
kept outcomes have is run and counted, and neither compared nor written. Ends with 1 when no suite was run, when a case ends
otherwise than in the run that is kept, when a failure has no reason in conformance/reasons/, or a reason no failure.

Options:
      --source SUITE=DIR   Take a suite's sources from here (repeat)
      --engine unix://…    Run against this engine instead: its outcomes stand beside ours in the report. The suites remove and
                           prune what they find, so it must hold no containers, networks and volumes
      --engine-name NAME   What the report calls it (default docker)
      --only TEXT          Some cases only, by a part of their name (repeat); nothing is written
      --bip CIDR           Address of the own engine's default bridge (default 10.45.0.1/24)
      --registry-port N    Port of the registry, for another engine that has http://127.0.0.1:N as its mirror (default: any)
      --directory DIR      Where the own engine's private data root is made (default: the system's temporary directory)
      --no-write           Print only
      --report             Run nothing: write docs/compatibility.md from the results that are kept
  -h, --help               This text

Suites (all, unless some are named):
${allSuites.map(({ name, about }) => `  ${name.padEnd(20)} ${about}`).join("\n")}
`;

/** Reads the words after \`--\`. Undefined when only help was asked for; throws what is wrong with them. */
export function parseOptions(words: readonly string[]): Options | undefined {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    allowNegative: true,
    options: {
      source: { type: "string", multiple: true, default: [] },
      engine: { type: "string" },
      "engine-name": { type: "string", default: "docker" },
      only: { type: "string", multiple: true, default: [] },
      bip: { type: "string", default: "10.45.0.1/24" },
      directory: { type: "string", default: tmpdir() },
      "registry-port": { type: "string" },
      write: { type: "boolean", default: true },
      report: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  if (values["engine-name"] === "berth") throw new Error("--engine-name berth: that is the engine of this tree");
  return {
    suites: positionals.length === 0 ? allSuites : positionals.map(suiteNamed),
    sources: new Map(values.source.map(source)),
    engine: values.engine === undefined ? undefined : { socket: socketOf(values.engine), name: values["engine-name"] },
    only: values.only,
    bip: values.bip,
    directory: values.directory,
    registryPort: values["registry-port"] === undefined ? undefined : Number(values["registry-port"]),
    write: values.write && values.only.length === 0,
    reportOnly: values.report,
  };
}

function suiteNamed(name: string): Suite {
  const suite = allSuites.find((known) => known.name === name);
  if (suite === undefined) {
    throw new Error(`no suite ${name}; there are ${allSuites.map((known) => known.name).join(", ")}`);
  }
  return suite;
}

function source(word: string): readonly [string, string] {
  const [, name, directory] = /^([\w-]+)=(.+)$/.exec(word) ?? [];
  if (name === undefined || directory === undefined) throw new Error(`--source ${word}: expected SUITE=DIR`);
  return [suiteNamed(name).name, resolve(directory)];
}

function socketOf(host: string): string {
  if (!host.startsWith("unix:///")) throw new Error(`--engine ${host}: expected unix:///PATH`);
  return host.slice("unix://".length);
}
