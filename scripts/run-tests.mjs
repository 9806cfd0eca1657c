// Runs the static checks and all tests, and sums them up in the last line. Usage: run-tests.mjs [vitest arguments]
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const scratch = mkdtempSync(join(tmpdir(), "berth-tests-"));
let passed = 0;
let failed = 0;

// End-to-end tests run what was built, as users do.
const env = { ...process.env, BERTH_TEST_ENTRY: join(process.cwd(), "dist/main.js") };
const run = (command, args) => spawnSync(command, args, { stdio: "inherit", env }).status === 0;

function check(name, command, args) {
  const good = run(command, args);
  console.log(`${good ? "ok" : "FAILED"}: ${name}`);
  if (good) passed++;
  else failed++;
}

/** What of Berth is on the host, besides the tests' own scratch directory. */
function traces() {
  const { stdout } = spawnSync(process.execPath, ["test/support/print-traces.ts"], { encoding: "utf8" });
  return stdout.split("\n").filter((line) => line !== "" && !line.includes(scratch));
}

const before = new Set(traces());
const arguments_ = process.argv.slice(2);
if (arguments_.length === 0) {
  check("types", process.execPath, ["node_modules/typescript-native/bin/tsc", "-p", "tsconfig.json"]);
  check("lint", "oxlint", ["--type-aware", "--deny-warnings", "src", "test", "scripts", "bench", "conformance"]);
  check("format", "biome", ["format", "src", "test", "scripts", "bench", "conformance"]);
  check("imports go down only", "depcruise", ["--config", ".dependency-cruiser.cjs", "src", "bench", "conformance"]);
}

const report = join(scratch, "report.json");
const projects = arguments_.length === 0 ? ["unit", "integration", "e2e"].flatMap((name) => ["--project", name]) : [];
const good = run("vitest", ["run", ...projects, ...arguments_, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`]);
try {
  const { numPassedTests, numFailedTests, numFailedTestSuites } = JSON.parse(readFileSync(report, "utf8"));
  passed += numPassedTests;
  failed += numFailedTests;
  // A file that can't be loaded has no failed test, but is a failure.
  if (!good && numFailedTests === 0) failed += Math.max(1, numFailedTestSuites);
} catch (error) {
  console.error(`no test report: ${error.message}`);
  failed++;
}

// The kernel takes some things away by itself, a moment later.
let left = [];
for (let tries = 0; tries < 20; tries++) {
  left = traces().filter((trace) => !before.has(trace));
  if (left.length === 0) break;
  await new Promise((resolve) => setTimeout(resolve, 500));
}
console.log(left.length === 0 ? "ok: nothing is left on the host" : `FAILED: left on the host:\n${left.join("\n")}`);
if (left.length === 0) passed++;
else failed++;

rmSync(scratch, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
