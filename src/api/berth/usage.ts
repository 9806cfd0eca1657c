/** What all that runs uses, in one stream. */
import { setTimeout as delay } from "node:timers/promises";
import { UsageQuery, UsageReport } from "../../schema/usage.ts";
import { ok, type Route, route, streamed } from "../docker/route.ts";
import { JsonStream } from "../docker/streams/json-stream.ts";

export const usageRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/berth/v1/usage",
    summary: "What containers and machines that run use, all in one reading; a line of JSON for each",
    query: UsageQuery,
    answer: UsageReport,
    handle: async ({ backend, ctx, query, reply }) => {
      const read = async (): Promise<UsageReport> => {
        const instances = await backend.instances.usageLines(ctx, query.name);
        return { atNs: Math.round(performance.now() * 1e6), instances: [...instances] };
      };
      const first = await read();
      if (!query.stream) return ok(first);
      const stream = new JsonStream(reply, {});
      stream.write(first);
      try {
        for (;;) {
          await delay(query.intervalMs, undefined, { signal: ctx.signal });
          stream.write(await read());
        }
      } catch (error) {
        if (!ctx.signal.aborted) stream.fail(error);
      }
      stream.end();
      return streamed;
    },
  }),
];
