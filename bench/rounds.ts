/** Interleaving: every round asks each engine once, and another one first. What else the machine does falls on all. */
import { messageOf } from "../src/base/errors.ts";
import type { Bench, BenchCase } from "./case.ts";
import type { MeasuredEngine } from "./measured-engine.ts";
import type { Results } from "./results.ts";

export interface RoundsOptions {
  readonly rounds: number;
  readonly bench: Bench;
  readonly results: Results;
  readonly say: (line: string) => void;
}

/** Runs one case on all engines. An engine that can't be prepared sits out; one that fails a turn has no samples of that turn. */
export async function runCase(
  subject: BenchCase,
  engines: readonly MeasuredEngine[],
  { rounds, bench, results, say }: RoundsOptions,
): Promise<void> {
  await using prepared = new AsyncDisposableStack();
  const taking: MeasuredEngine[] = [];
  for (const engine of engines) {
    if (subject.berthOnly === true && !engine.isBerth) continue;
    prepared.defer(async () => await engine.removeContainers());
    try {
      const made = await subject.prepare?.(engine, bench);
      if (made !== undefined) prepared.use(made);
      taking.push(engine);
    } catch (error) {
      fail(engine, error);
    }
  }
  const count = Math.max(Math.min(3, rounds), Math.ceil(rounds * (subject.share ?? 1)));
  for (const [engine, round] of turns(taking, subject.warmUps ?? 1, count)) {
    bench.signal.throwIfAborted();
    try {
      await subject.turn(
        {
          engine,
          round,
          record: (metric, value) => {
            if (round >= 0) results.record(metric, engine.name, round, value);
          },
        },
        bench,
      );
    } catch (error) {
      bench.signal.throwIfAborted();
      fail(engine, error);
      await engine.removeContainers();
    }
  }

  function fail(engine: MeasuredEngine, error: unknown): void {
    say(`${subject.name} on ${engine.name}: ${messageOf(error)}`);
    results.fail(subject.name, engine.name, messageOf(error));
  }
}

/** Who has its turn when: warm-ups have negative round numbers, and every round starts one engine later. */
export function* turns<T>(engines: readonly T[], warmUps: number, rounds: number): Generator<readonly [T, number]> {
  for (let round = -warmUps; round < rounds; round++) {
    for (let at = 0; at < engines.length; at++) {
      const engine = engines[(at + round + warmUps) % engines.length];
      if (engine !== undefined) yield [engine, round];
    }
  }
}
