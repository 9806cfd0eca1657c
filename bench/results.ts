import type { Metric } from "./metric.ts";

/** One engine's samples of one metric, by round; undefined where it failed or was not asked. */
export type Samples = readonly (number | undefined)[];

export interface Failure {
  /** Name of the case: what it would have recorded is not known. */
  readonly subject: string;
  readonly engine: string;
  readonly reason: string;
}

/** All samples of a run. */
export class Results {
  readonly #metrics = new Map<string, Metric>();
  readonly #samples = new Map<string, Map<string, (number | undefined)[]>>();
  readonly #failures: Failure[] = [];

  /** In the order in which they were first recorded. */
  get metrics(): readonly Metric[] {
    return [...this.#metrics.values()];
  }

  get failures(): readonly Failure[] {
    return this.#failures;
  }

  record(metric: Metric, engine: string, round: number, value: number): void {
    this.#metrics.set(metric.id, this.#metrics.get(metric.id) ?? metric);
    const engines = this.#samples.get(metric.id) ?? new Map<string, (number | undefined)[]>();
    this.#samples.set(metric.id, engines);
    const samples = engines.get(engine) ?? [];
    engines.set(engine, samples);
    while (samples.length <= round) samples.push(undefined);
    samples[round] = value;
  }

  fail(subject: string, engine: string, reason: string): void {
    this.#failures.push({ subject, engine, reason });
  }

  samples(metric: string, engine: string): Samples {
    return this.#samples.get(metric)?.get(engine) ?? [];
  }

  /** Samples that are there, in no particular pairing. */
  values(metric: string, engine: string): readonly number[] {
    return this.samples(metric, engine).filter((value) => value !== undefined);
  }

  toJSON(): SavedResults {
    return {
      metrics: this.metrics.map((metric) => ({
        ...metric,
        samples: Object.fromEntries(
          [...(this.#samples.get(metric.id) ?? [])].map(([engine, samples]) => [
            engine,
            samples.map((value) => value ?? null),
          ]),
        ),
      })),
      failures: this.#failures,
    };
  }

  static fromJSON(saved: SavedResults): Results {
    const results = new Results();
    for (const { samples, ...metric } of saved.metrics) {
      for (const [engine, values] of Object.entries(samples)) {
        for (const [round, value] of values.entries()) {
          if (value !== null) results.record(metric, engine, round, value);
        }
      }
    }
    for (const { subject, engine, reason } of saved.failures) results.fail(subject, engine, reason);
    return results;
  }
}

/** What `--json` writes and `--against` reads. */
export interface SavedResults {
  readonly metrics: readonly (Metric & { readonly samples: Readonly<Record<string, readonly (number | null)[]>> })[];
  readonly failures: readonly Failure[];
}
