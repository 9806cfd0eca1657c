/** Prints what carries Berth's name on this host, a line each: run before and after the tests by scripts/run-tests.mjs. */
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { berthTraces } from "./leaks.ts";

const files = readdirSync(tmpdir())
  .filter((name) => name.startsWith("berth-"))
  .map((name) => `file ${join(tmpdir(), name)}`);
for (const trace of [...berthTraces(), ...files]) console.log(trace);
