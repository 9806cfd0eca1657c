import type { BerthEngine } from "./berth-engine.ts";
import type { MeasuredEngine } from "./measured-engine.ts";
import type { Metric } from "./metric.ts";

/** What a case is given for one engine's turn. */
export interface Turn {
  readonly engine: MeasuredEngine;
  /** Counted from 0; the turns before that only warm up and record nothing. */
  readonly round: number;
  readonly record: (metric: Metric, value: number) => void;
}

/** What the whole run shares. */
export interface Bench {
  readonly berth: BerthEngine;
  /** One more engine of this tree, with further flags and the small image. */
  readonly openBerth: (flags: readonly string[]) => Promise<BerthEngine>;
  /** A scratch directory. */
  readonly directory: string;
  readonly signal: AbortSignal;
  /** Whether the client has the buildx plug-in. */
  readonly buildx: boolean;
}

/** Something measured on every engine in turn. What it leaves on an engine under {@link MeasuredEngine.prefix} is removed after it. */
export interface BenchCase {
  /** What `--only` takes. */
  readonly name: string;
  readonly about: string;
  /** Rounds as a share of those asked for; 1 unless told. At least three are made, or as many as were asked for. */
  readonly share?: number;
  /** Rounds that only warm up; 1 unless told. */
  readonly warmUps?: number;
  /** Only Berth can be measured (it takes starting the engine). */
  readonly berthOnly?: boolean;
  /** Only measured when `--only` names it. */
  readonly onRequest?: boolean;
  /** Made once for each engine before the first round, and disposed after the last. */
  readonly prepare?: (engine: MeasuredEngine, bench: Bench) => Promise<AsyncDisposable | undefined>;
  readonly turn: (turn: Turn, bench: Bench) => Promise<void>;
}

/** Milliseconds that `work` takes. */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
