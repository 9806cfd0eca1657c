/** `npm run bench`: see `options.ts` for its words and docs/benchmarks.md for what it found. */
import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../src/base/errors.ts";
import { silentLogger } from "../src/base/logger.ts";
import { createLinuxHost } from "../src/host/linux-host.ts";
import { busyboxArchive } from "../test/support/busybox-image.ts";
import { BerthEngine } from "./berth-engine.ts";
import { changesTable, compareRuns } from "./compare.ts";
import { describeEngine, describeMachine } from "./machine.ts";
import { MeasuredEngine, smallImage } from "./measured-engine.ts";
import { type BenchOptions, parseOptions, usage } from "./options.ts";
import { markdownReport } from "./report.ts";
import { Results, type SavedResults } from "./results.ts";
import { runCase } from "./rounds.ts";
import { markdownTable } from "./table.ts";

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => interrupted.abort(new Error(`ended by ${signal}; cleaned up`)));
}
try {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(usage);
  else await benchmark(options);
} catch (error) {
  for (const reason of reasons(error)) say(`bench: ${reason}`);
  process.exitCode = 1;
}

/** What went wrong, and what went wrong while cleaning up after it. */
function reasons(error: unknown): readonly string[] {
  if (!(error instanceof SuppressedError)) return [messageOf(error)];
  return [...reasons(error.suppressed), ...reasons(error.error)];
}

async function benchmark(options: BenchOptions): Promise<void> {
  // Read first: half an hour of measuring must not end on a mistyped name.
  const before = options.against === undefined ? undefined : await readResults(options.against);
  const machine = await describeMachine();
  await using cleanup = new AsyncDisposableStack();
  const directory = await mkdtemp(join(await realpath(options.directory), "berth-bench-files-"));
  cleanup.defer(async () => await rm(directory, { recursive: true, force: true }));
  const dockerConfig = await clientConfiguration(directory, options.buildx);
  const { processes } = cleanup.adopt(await createLinuxHost({ log: silentLogger }), (host) => host.close());
  const startBerth = async (flags: readonly string[]) =>
    await BerthEngine.start({ directory: options.directory, dockerConfig, processes, flags });
  const berth = cleanup.use(await startBerth(options.daemonFlags));
  const engines = [
    berth.measured,
    ...options.peers.map(({ name, host }) => cleanup.use(new MeasuredEngine({ name, host, dockerConfig, processes }))),
  ];
  const archive = await busyboxArchive({ tags: [smallImage] });
  for (const engine of engines) {
    await engine.load(archive);
    cleanup.defer(async () => {
      await engine.removeContainers();
      await engine.removeImage(smallImage);
    });
  }
  const openBerth = async (flags: readonly string[]) => {
    const further = await startBerth([...options.daemonFlags, ...flags]);
    await further.measured.load(archive);
    return further;
  };
  const facts = {
    command: commandWords(options),
    date: new Date().toISOString().slice(0, 10),
    rounds: options.rounds,
    machine,
    engines: await Promise.all(engines.map(describeEngine)),
  };
  const results = new Results();
  const names = engines.map(({ name }) => name);
  try {
    for (const subject of options.cases) {
      say(`${subject.name}: ${subject.about}`);
      await runCase(subject, engines, {
        rounds: options.rounds,
        results,
        say,
        bench: { berth, openBerth, directory, signal: interrupted.signal, buildx: options.buildx !== undefined },
      });
    }
  } finally {
    // Also of a run that was ended early: what was measured is worth keeping.
    process.stdout.write(`${markdownTable(results, names)}\n`);
    if (options.json !== undefined)
      await writeFile(options.json, `${JSON.stringify({ ...facts, ...results.toJSON() })}\n`);
  }
  if (options.write !== undefined) await writeFile(options.write, markdownReport(results, facts));
  if (before !== undefined) {
    process.stdout.write(`\n${changesTable(compareRuns(results, before, "berth", names.slice(1)))}\n`);
  }
}

/** A configuration of the docker client that holds nothing but, when it is given, the buildx plug-in. */
async function clientConfiguration(directory: string, buildx: string | undefined): Promise<string> {
  const config = join(directory, "docker-config");
  await mkdir(join(config, "cli-plugins"), { recursive: true });
  if (buildx !== undefined) await symlink(await realpath(buildx), join(config, "cli-plugins", "docker-buildx"));
  return config;
}

async function readResults(file: string): Promise<Results> {
  return Results.fromJSON(JSON.parse(await readFile(file, "utf8")) as SavedResults);
}

/** The command that repeats the run elsewhere: addresses stand for whatever they are there. */
function commandWords(options: BenchOptions): string {
  const peers = options.peers.map(({ name }) => `--engine ${name}=unix:///…`);
  const cases = options.cases.map(({ name }) => name).join(",");
  return [
    ...peers,
    `--only ${cases}`,
    `--rounds ${options.rounds}`,
    ...options.daemonFlags.map((flag) => `--daemon-flag ${flag}`),
  ].join(" ");
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
