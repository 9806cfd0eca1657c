/**
 * A sample of the failpoint walk (`npm run failpoints` does all of it): at effects chosen by a seed the engine dies, or the effect
 * fails, and everything must be whole again. WALK_SEED repeats a choice, WALK_SECONDS makes it longer.
 */
import { expect, it } from "vitest";
import { SeededRandom } from "../soak/seeded-random.ts";
import { type Mode, operations, type Step, walkOperation } from "../support/failpoint-walk/walk.ts";
import type { Hit } from "../support/failpoint-walk/world.ts";

const seed = Number(process.env["WALK_SEED"] ?? Math.floor(Math.random() * 1_000_000));
const seconds = Number(process.env["WALK_SECONDS"] ?? 90);
/** Of each operation and mode. */
const stepsEach = 4;

it("is whole again whichever effect the engine died in front of", { timeout: (seconds + 180) * 1000 }, async () => {
  const random = new SeededRandom(seed);
  const pick = <T>(items: readonly T[], count: number): readonly T[] =>
    items
      .map((item) => ({ item, place: random.next() }))
      .sort((a, b) => a.place - b.place)
      .slice(0, count)
      .map(({ item }) => item);
  const queue = [...pick(operations, operations.length)];
  const deadline = Date.now() + seconds * 1000;
  const steps: Step[] = [];
  const options = {
    modes: ["die", "fail", "die-again"] as readonly Mode[],
    choose: (hits: readonly Hit[], mode: Mode) => pick(hits, mode === "die-again" ? 1 : stepsEach),
    chooseAgain: (hits: readonly Hit[]) => pick(hits, stepsEach),
    go: () => Date.now() < deadline,
    report: (step: Step) => void steps.push(step),
  };
  const work = async () => {
    for (let operation = queue.shift(); operation !== undefined && options.go(); operation = queue.shift()) {
      await walkOperation(operation, options);
    }
  };
  const broken = (await Promise.allSettled([work(), work()])).filter((result) => result.status === "rejected");
  const found = [
    ...broken.map(({ reason }) => String(reason)),
    ...steps.flatMap(({ operation, mode, hit, again, faults }) => {
      const second = again === undefined ? "" : ` --again ${again.point}#${again.number}`;
      const step = `--operation ${operation} --mode ${mode} --point ${hit.point}#${hit.number}${second}`;
      return faults.map((fault) => `${step}: ${fault}`);
    }),
  ];
  process.stdout.write(`walked ${steps.length} failpoints with WALK_SEED=${seed}\n`);
  expect(found, `WALK_SEED=${seed}`).toEqual([]);
  expect(steps.length).toBeGreaterThan(10);
});
