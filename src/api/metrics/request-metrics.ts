import type { MetricFamily, MetricSample } from "./prometheus-text.ts";

/** One request that was answered. */
export interface ObservedRequest {
  readonly method: string;
  /** The route's pattern ("/containers/{id}/json"), never the path itself: so there are only as many series as routes. */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  /** Logs, events, attach: how long their client listens is no latency. */
  readonly streamed: boolean;
}

/** Upper bounds of the histogram's buckets, seconds. */
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

interface Series {
  readonly method: string;
  readonly route: string;
  readonly byStatus: Map<number, number>;
  /** Not cumulative; one more than there are bounds. */
  readonly buckets: number[];
  seconds: number;
}

/** Counts the API's requests. A count costs a map look-up; nothing is kept of a single request. */
export class RequestMetrics {
  readonly #series = new Map<string, Series>();

  observe({ method, route, status, seconds, streamed }: ObservedRequest): void {
    const key = `${method} ${route}`;
    let series = this.#series.get(key);
    if (series === undefined) {
      series = {
        method,
        route,
        byStatus: new Map(),
        buckets: Array.from({ length: bounds.length + 1 }, () => 0),
        seconds: 0,
      };
      this.#series.set(key, series);
    }
    series.byStatus.set(status, (series.byStatus.get(status) ?? 0) + 1);
    if (streamed) return;
    const found = bounds.findIndex((bound) => seconds <= bound);
    const bucket = found === -1 ? bounds.length : found;
    series.buckets[bucket] = (series.buckets[bucket] ?? 0) + 1;
    series.seconds += seconds;
  }

  families(): readonly MetricFamily[] {
    const all = [...this.#series.values()];
    return [
      {
        name: "berth_api_requests_total",
        help: "Requests answered by the API.",
        type: "counter",
        samples: all.flatMap(({ method, route, byStatus }) =>
          [...byStatus].map(([status, value]) => ({ labels: { method, route, status: String(status) }, value })),
        ),
      },
      {
        name: "berth_api_request_duration_seconds",
        help: "Time from a request to its answer, without those that stream.",
        type: "histogram",
        samples: all.flatMap(histogram),
      },
    ];
  }
}

function histogram({ method, route, buckets, seconds }: Series): readonly MetricSample[] {
  const labels = { method, route };
  let count = 0;
  const cumulative = buckets.map((value) => (count += value));
  if (count === 0) return [];
  return [
    ...cumulative.map((value, at) => ({
      suffix: "_bucket",
      labels: { ...labels, le: String(bounds[at] ?? "+Inf") },
      value,
    })),
    { suffix: "_sum", labels, value: seconds },
    { suffix: "_count", labels, value: count },
  ];
}
