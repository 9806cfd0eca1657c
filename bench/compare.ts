/** What changed between two runs: `--against`. */
import type { Metric } from "./metric.ts";
import type { Results } from "./results.ts";
import { type Interval, unpairedRatio } from "./statistics.ts";

export interface Change {
  readonly metric: Metric;
  /** The peer by which both runs were made comparable; undefined when they have none in common. */
  readonly by: string | undefined;
  /** Now divided by before. */
  readonly ratio: Interval;
  readonly verdict: "better" | "worse" | "no difference";
}

/**
 * Berth's samples of two runs, each divided by the same round's sample of a peer that both runs measured: the machine was another
 * one at another time, and that falls on the peer as well. Only what both runs measured is told.
 */
export function compareRuns(now: Results, before: Results, ours: string, peers: readonly string[]): readonly Change[] {
  return now.metrics.flatMap((metric) => {
    const by = peers.find((peer) => [now, before].every((run) => normalised(run, metric.id, ours, peer).length > 0));
    const ratio = unpairedRatio(normalised(now, metric.id, ours, by), normalised(before, metric.id, ours, by));
    return ratio === undefined ? [] : [{ metric, by, ratio, verdict: judge(ratio, metric.better) }];
  });
}

function normalised(run: Results, metric: string, ours: string, peer: string | undefined): readonly number[] {
  if (peer === undefined) return run.values(metric, ours);
  const base = run.samples(metric, peer);
  return run.samples(metric, ours).flatMap((value, round) => {
    const divisor = base[round];
    return value === undefined || divisor === undefined || divisor === 0 ? [] : [value / divisor];
  });
}

function judge(ratio: Interval, better: Metric["better"]): Change["verdict"] {
  if (ratio.low <= 1 && 1 <= ratio.high) return "no difference";
  return ratio.estimate < 1 === (better === "less") ? "better" : "worse";
}

export function changesTable(changes: readonly Change[]): string {
  const rows = changes.map(
    ({ metric, by, ratio, verdict }) =>
      `| ${metric.label} | ${ratio.estimate.toFixed(2)} (${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)}) | ${by ?? "nothing"} | ${verdict} |`,
  );
  return ["| measured | now / before | relative to | verdict |", "| --- | --: | --: | --: |", ...rows].join("\n");
}
