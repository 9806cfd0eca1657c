/**
 * Walks the failpoints: `npm run failpoints -- [--operation NAME]... [--point NAME[#K]]... [--mode die|fail|die-again]
 * [--again NAME[#K]]... [--engines N]
 * [--machines]`. With --machines the operations on virtual machines are walked instead, which take minutes each. With die-again the engine dies at three effects of each operation (or at those given), and again
 * in front of each effect of its recovery (or those given with --again).
 * A line for each step and a summary; exit code 1 when there was a fault.
 */
import { parseArgs } from "node:util";
import { messageOf } from "../src/base/errors.ts";
import {
  allMachineOperations,
  type Mode,
  operations,
  type Step,
  walkOperation,
} from "../test/support/failpoint-walk/walk.ts";
import type { Hit } from "../test/support/failpoint-walk/world.ts";

const { values } = parseArgs({
  options: {
    operation: { type: "string", multiple: true, default: [] },
    point: { type: "string", multiple: true, default: [] },
    again: { type: "string", multiple: true, default: [] },
    mode: { type: "string", multiple: true, default: ["die", "fail"] },
    engines: { type: "string", default: "2" },
    machines: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
  },
});

const modes = values.mode.map((mode): Mode => {
  if (mode === "die" || mode === "fail" || mode === "die-again") return mode;
  throw new Error(`--mode is die, fail or die-again, not ${mode}`);
});
const all = [...operations, ...allMachineOperations];
const known = all.map(({ name }) => name);
for (const name of values.operation) {
  if (!known.includes(name)) throw new Error(`--operation is one of ${known.join(", ")}, not ${name}`);
}

// Ends after the present steps, and cleans up.
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => (interrupted = true));

const isChosen = ({ name }: { readonly name: string }) => values.operation.includes(name);
const queue =
  values.operation.length > 0 ? all.filter(isChosen) : [...(values.machines ? allMachineOperations : operations)];
const steps: Step[] = [];
const broken: string[] = [];
const begun = performance.now();

async function work(): Promise<void> {
  for (let operation = queue.shift(); operation !== undefined && !interrupted; operation = queue.shift()) {
    try {
      await walkOperation(operation, {
        modes,
        choose: (hits, mode) => {
          if (mode === "die-again" && values.point.length === 0) return spread(hits, 3);
          return hits.filter((hit) => isNamed(hit, values.point));
        },
        chooseAgain: (hits) => hits.filter((hit) => isNamed(hit, values.again)),
        go: () => !interrupted,
        report,
      });
    } catch (error) {
      broken.push(`${operation.name}: ${messageOf(error)}`);
      process.stdout.write(`FAULT ${broken.at(-1)}\n`);
    }
  }
}

function isNamed({ point, number }: Hit, names: readonly string[]): boolean {
  return names.length === 0 || names.includes(point) || names.includes(`${point}#${number}`);
}

/** One of the middle of each of `count` equal parts. */
function spread(hits: readonly Hit[], count: number): readonly Hit[] {
  const middles = Array.from({ length: count }, (_, part) => Math.floor(((part + 0.5) * hits.length) / count));
  return [...new Set(middles)].flatMap((place) => hits[place] ?? []);
}

function report(step: Step): void {
  steps.push(step);
  const { operation, mode, hit, again, faults, reached, ms } = step;
  const mark = faults.length > 0 ? "FAULT" : reached ? "ok   " : "later";
  process.stdout.write(`${mark} ${operation} ${mode} ${[hit, again].flatMap(tell).join(" and then ")} (${ms} ms)\n`);
  for (const fault of faults) process.stdout.write(`      ${fault}\n`);
}

function tell(hit: Hit | undefined): readonly string[] {
  return hit === undefined ? [] : [`${hit.point}#${hit.number} ${hit.detail.slice(0, 110)}`];
}

await Promise.all(Array.from({ length: Number(values.engines) }, work));

const faulty = steps.filter(({ faults }) => faults.length > 0);
const points = new Set(steps.map(({ hit }) => hit.point));
const seconds = Math.round((performance.now() - begun) / 1000);
process.stdout.write(
  `\n${steps.length} steps at ${points.size} failpoints in ${seconds} s: ${steps.filter(({ reached }) => !reached).length} not reached, ${faulty.length + broken.length} faults\n`,
);
for (const { operation, mode, hit, again } of faulty) {
  const second = again === undefined ? "" : ` --again ${again.point}#${again.number}`;
  process.stdout.write(
    `  npm run failpoints -- --operation ${operation} --mode ${mode} --point ${hit.point}#${hit.number}${second}\n`,
  );
}
process.exitCode = faulty.length + broken.length === 0 ? 0 : 1;
