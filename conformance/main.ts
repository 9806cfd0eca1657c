/** `npm run conformance`: see `options.ts` for its words and docs/compatibility.md for what it found. */
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../src/base/errors.ts";
import { EngineClient, readAll } from "../src/client/engine-client.ts";
import { startRegistry } from "../test/support/registry.ts";
import { runCommand } from "../test/support/run-command.ts";
import { clearEngine, OwnEngine, requireEmpty } from "./engine.ts";
import { type Options, parseOptions, usage } from "./options.ts";
import { isSometimes, judge, readReasons } from "./reasons.ts";
import { preload, serve } from "./registry-images.ts";
import { compatibilityReport } from "./report.ts";
import { readReported } from "./reported.ts";
import { collectResults, countSkipped, differences, readResults, saveResults, type SuiteResults } from "./results.ts";
import { givenSource } from "./sources.ts";
import { type CaseResult, NotRun, type Source, type Suite } from "./suite.ts";

const cacheDirectory = new URL("../.cache/conformance/", import.meta.url).pathname;
const reportFile = new URL("../docs/compatibility.md", import.meta.url);
const clearTimeoutMs = 120_000;

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => interrupted.abort(new Error(`ended by ${signal}; cleaned up`)));
}
try {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(usage);
  else if (options.reportOnly) await writeReport();
  else await conform(options);
} catch (error) {
  say(`conformance: ${messageOf(error)}`);
  process.exitCode = 1;
}

async function conform(options: Options): Promise<void> {
  if (options.engine !== undefined) await requireEmpty(options.engine.socket);
  const failed: string[] = [];
  const lines: string[] = [];
  let ran = 0;
  for (const suite of options.suites) {
    interrupted.signal.throwIfAborted();
    try {
      await requirePrograms(suite);
      const results = await runSuite(suite, options);
      ran++;
      lines.push(countLine(results));
      failed.push(...(await keep(results, options)));
    } catch (error) {
      // Others may still be run: a source that can't be had is no reason not to look at the rest.
      interrupted.signal.throwIfAborted();
      lines.push(`${suite.name}: NOT RUN${error instanceof NotRun ? "" : ", by an error"}`);
      say(`${suite.name}: not run: ${messageOf(error)}`);
      if (!(error instanceof NotRun)) failed.push(`${suite.name}: ${messageOf(error)}`);
    }
  }
  if (options.write) await writeReport();
  process.stdout.write(`${lines.join("\n")}\n`);
  if (ran === 0) failed.push("no suite was run");
  if (failed.length === 0) return;
  for (const line of failed) say(line);
  process.exitCode = 1;
}

/** Writes the outcomes down where they may be compared with those that were kept, and returns what is amiss with them. */
async function keep(results: SuiteResults, options: Options): Promise<readonly string[]> {
  const kept = (await readResults()).find(({ suite, engine }) => suite === results.suite && engine === results.engine);
  if (kept !== undefined && kept.source !== results.source && !options.sources.has(results.suite)) {
    say(
      `${results.suite}: of ${results.source}, and what is kept is of ${kept.source}: other cases, so nothing is written or compared`,
    );
    return [];
  }
  if (options.write) await saveResults(results);
  if (options.engine !== undefined || options.only.length > 0) return [];
  const reasons = await readReasons(results.suite);
  const { unexplained, stale } = judge(results, reasons);
  return [
    ...(kept === undefined ? [] : differences(kept, results))
      .filter(({ name }) => !isSometimes(name, reasons))
      .map(({ name, before, now }) => `${results.suite}: ${before} in the run that is kept, now ${now}: ${name}`),
    ...unexplained.map((name) => `${results.suite}: no reason for the failure of ${name}`),
    ...stale.map((key) => `${results.suite}: a reason for ${key}, which does not fail`),
  ];
}

async function writeReport(): Promise<void> {
  await writeFile(reportFile, compatibilityReport(await readReported()));
}

async function runSuite(suite: Suite, options: Options): Promise<SuiteResults> {
  const { signal } = interrupted;
  const tell = (line: string) => say(`${suite.name}: ${line}`);
  await using cleanup = new AsyncDisposableStack();
  const source = await sourceOf(suite, options, tell);
  const work = await mkdtemp(join(await realpath(options.directory), "berth-conformance-files-"));
  cleanup.defer(async () => await rm(work, { recursive: true, force: true }));
  tell(source.version);
  const engine = options.engine?.name ?? "berth";
  const facts = { suite: suite.name, engine, source: source.version };
  const common = { source, work, only: options.only, signal, say: tell, isBerth: options.engine === undefined };
  if (!suite.engine) {
    const cases = await suite.run({ ...common, socket: "", registry: "", preload: async () => {} });
    return print(collectResults({ ...facts, engineVersion: "this tree" }, cases));
  }
  const registry = cleanup.use(
    await startRegistry(options.registryPort === undefined ? {} : { port: options.registryPort }),
  );
  const standIns = await suite.images(source);
  await serve(registry.host, standIns, work);
  const socket =
    options.engine?.socket ??
    cleanup.use(await OwnEngine.start({ directory: options.directory, registry: registry.host, bip: options.bip }))
      .socket;
  const preloadStandIns = async () => await preload(socket, standIns, options.engine !== undefined);
  await preloadStandIns();
  let cases: readonly CaseResult[];
  try {
    cases = await suite.run({ ...common, socket, registry: registry.host, preload: preloadStandIns });
  } finally {
    // What a suite leaves on an engine that is not ours would be in the next one's way.
    await clearEngine(socket, AbortSignal.timeout(clearTimeoutMs));
  }
  return print(collectResults({ ...facts, engineVersion: await versionOf(socket) }, cases));
}

async function sourceOf(suite: Suite, options: Options, tell: (line: string) => void): Promise<Source> {
  const given = options.sources.get(suite.name);
  if (given !== undefined) return await givenSource(suite.name, given);
  const cache = join(cacheDirectory, suite.name);
  await mkdir(cache, { recursive: true });
  return await suite.fetch({ cache, signal: interrupted.signal, say: tell });
}

async function versionOf(socket: string): Promise<string> {
  using api = new EngineClient(`unix://${socket}`, undefined, "1.41");
  const { body } = await api.stream("GET", "/version");
  return (JSON.parse(await readAll(body)) as { readonly Version: string }).Version;
}

function print(results: SuiteResults): SuiteResults {
  for (const [name, detail] of Object.entries(results.failed))
    say(`  failed  ${name}\n${detail.replace(/^/gm, "            ")}`);
  return results;
}

function countLine(results: SuiteResults): string {
  const failed = Object.keys(results.failed).length;
  return `${results.suite} (${results.engine}): ${results.passed} passed, ${failed} failed, ${countSkipped(results)} skipped`;
}

/** All that a suite misses on this host in one message, before anything is fetched or started. */
async function requirePrograms({ needs, engine }: Suite): Promise<void> {
  const always = engine
    ? [
        { program: "docker-registry", package: "docker-registry" },
        { program: "skopeo", package: "skopeo" },
      ]
    : [];
  const missing = new Set<string>();
  for (const need of [...always, ...needs]) {
    const { code } = await runCommand("sh", ["-c", 'command -v "$1"', "sh", need.program]);
    if (code !== 0) missing.add(need.package);
  }
  if (missing.size === 0) return;
  throw new NotRun(`missing on this host: run \`apt-get install --no-install-recommends ${[...missing].join(" ")}\``);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
