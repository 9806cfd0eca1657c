import type { OpContext } from "../../base/op-context.ts";
import { type Route, route, streamed } from "../docker/route.ts";
import type { DockerBackend } from "../docker/backend.ts";
import { instanceFamilies, processFamilies } from "./engine-metrics.ts";
import { type MetricFamily, prometheusContentType, prometheusText } from "./prometheus-text.ts";
import { RequestMetrics } from "./request-metrics.ts";

/** How long a reading of the instances is good for others that ask: two scrapers cost one reading. */
const sharedForMs = 1000;

/** `GET /metrics`. Nothing is read before somebody asks. */
export function metricsRoutes(requests: RequestMetrics): readonly Route[] {
  let shared: { readonly at: number; readonly families: Promise<readonly MetricFamily[]> } | undefined;
  const instances = async (ctx: OpContext, backend: DockerBackend): Promise<readonly MetricFamily[]> => {
    if (shared !== undefined && performance.now() - shared.at < sharedForMs) return await shared.families;
    const reading = { at: performance.now(), families: instanceFamilies(ctx, backend) };
    shared = reading;
    try {
      return await reading.families;
    } catch (error) {
      if (shared === reading) shared = undefined; // A client that left must not fail the next one.
      throw error;
    }
  };
  return [
    route({
      method: "GET",
      path: "/metrics",
      summary: "Metrics of the engine and of each running container, in Prometheus' text format",
      // Others may wait for the same reading.
      outlivesClient: true,
      handle: async ({ backend, ctx, reply }) => {
        const families = [...(await instances(ctx, backend)), ...(await processFamilies()), ...requests.families()];
        reply.header("Content-Type", prometheusContentType).send(prometheusText(families));
        return streamed;
      },
    }),
  ];
}

/** For the reference, which only tells what there is. */
export const documentedMetricsRoutes: readonly Route[] = metricsRoutes(new RequestMetrics());
