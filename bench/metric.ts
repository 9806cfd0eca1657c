/** What is measured, told apart from how. */

export type Unit = "ms" | "µs" | "s" | "MiB" | "MB/s" | "% of a core" | "x";

/** What issue or documentation promises of a figure. */
export type Target =
  /** Berth's value divided by the engine `peer`'s is at most (or at least) this. */
  | { readonly kind: "ratio"; readonly peer: string; readonly bound: number }
  /** Berth's own value is at most (or at least) this, in the metric's unit. */
  | { readonly kind: "value"; readonly bound: number };

export interface Metric {
  /** Stable: what `--against` matches by, e.g. "run.bridge". */
  readonly id: string;
  readonly label: string;
  readonly unit: Unit;
  /** What is good. */
  readonly better: "less" | "more";
  readonly target?: Target;
}

/** Short form for the many durations whose target is a share of Docker's. */
export function duration(id: string, label: string, shareOfDocker?: number): Metric {
  return {
    id,
    label,
    unit: "ms",
    better: "less",
    ...(shareOfDocker === undefined
      ? {}
      : { target: { kind: "ratio", peer: "docker", bound: shareOfDocker } satisfies Target }),
  };
}
