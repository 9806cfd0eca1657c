/** The results as a Markdown table. */
import type { Metric } from "./metric.ts";
import type { Results } from "./results.ts";
import { type Interval, pairedRatio, summarize } from "./statistics.ts";

/** One row a metric: Berth's median and quartiles, each peer's, the ratio between them with its interval, and the target. */
export function markdownTable(results: Results, engines: readonly string[]): string {
  const [ours = "berth", ...peers] = engines;
  const head = ["measured", "rounds", ours, ...peers.flatMap((peer) => [peer, `${ours} / ${peer}`]), "target"];
  const rows = results.metrics.map((metric) => [
    metric.label,
    String(
      results.values(metric.id, ours).length ||
        Math.max(...peers.map((peer) => results.values(metric.id, peer).length)),
    ),
    cell(results, metric, ours),
    ...peers.flatMap((peer) => [cell(results, metric, peer), ratioText(ratioTo(results, metric, ours, peer))]),
    verdict(results, metric, ours),
  ]);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, at) => (at === 0 ? "---" : "--:"))), ...rows.map(line)].join("\n");
}

export function ratioTo(results: Results, { id }: Metric, ours: string, peer: string): Interval | undefined {
  return pairedRatio(results.samples(id, ours), results.samples(id, peer));
}

/** "met" or "missed" by the median, and "within the noise" when the interval reaches over the bound; empty without target. */
export function verdict(results: Results, metric: Metric, ours: string): string {
  const { target, better } = metric;
  if (target === undefined) return "";
  const sign = better === "less" ? "≤" : "≥";
  if (target.kind === "value") {
    const median = summarize(results.values(metric.id, ours))?.median;
    const text = `${sign} ${target.bound} ${metric.unit}`;
    return median === undefined ? text : `${text}: ${holds(median, target.bound, better) ? "met" : "**missed**"}`;
  }
  const ratio = ratioTo(results, metric, ours, target.peer);
  const text = `${sign} ${target.bound}x ${target.peer}`;
  if (ratio === undefined) return `${text}: not measured`;
  const unsure = ratio.low <= target.bound && target.bound <= ratio.high && ratio.low !== ratio.high;
  return `${text}: ${holds(ratio.estimate, target.bound, better) ? "met" : "**missed**"}${unsure ? " (within the noise)" : ""}`;
}

function holds(value: number, bound: number, better: Metric["better"]): boolean {
  return better === "less" ? value <= bound : value >= bound;
}

function cell(results: Results, metric: Metric, engine: string): string {
  const summary = summarize(results.values(metric.id, engine));
  if (summary === undefined) return "";
  const { median, lowerQuartile, upperQuartile } = summary;
  const spread = summary.count === 1 ? "" : ` (${figure(lowerQuartile)}–${figure(upperQuartile)})`;
  return `${figure(median)} ${metric.unit}${spread}`;
}

function ratioText(ratio: Interval | undefined): string {
  if (ratio === undefined) return "";
  const { estimate, low, high } = ratio;
  return low === high ? estimate.toFixed(2) : `${estimate.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
}

/** As many digits as mean something. */
export function figure(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  if (Math.abs(value) >= 10) return value.toFixed(1);
  return value.toFixed(2);
}
