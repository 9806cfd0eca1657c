import { setTimeout as delay } from "node:timers/promises";
import type { Static } from "typebox";
import type { EngineEvent } from "../../../schema/event.ts";
import { EventsQuery } from "../../../schema/docker/system.ts";
import { eventFilter, eventLine } from "../codecs/event-json.ts";
import { parseUnixNano } from "../codecs/timestamps.ts";
import { apiErrors } from "../errors.ts";
import { type Call, type Route, route, streamed } from "../route.ts";
import { plainHeaders } from "../streams/send-stream.ts";

/** Bytes. A client that lets more pile up is cut off: it can come back with `since`. */
const maxBuffered = 8 * 1024 * 1024;

export const eventRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/events",
    summary: "What happens, as it happens",
    query: EventsQuery,
    handle: followEvents,
  }),
];

async function followEvents(call: Call<Static<typeof EventsQuery>>) {
  const { backend, ctx, query, reply } = call;
  const since = parseUnixNano("since", query.since);
  const until = parseUnixNano("until", query.until);
  if (since !== undefined && until !== undefined && until < since) {
    throw apiErrors.API_BAD_REQUEST({
      message: `\`since\` time (${query.since}) cannot be after \`until\` time (${query.until})`,
    });
  }
  const passes = eventFilter(query.filters);
  const { raw } = reply;
  reply.hijack();
  raw.writeHead(200, { ...plainHeaders(call), "Content-Type": "application/json" });
  raw.flushHeaders();
  const send = (event: EngineEvent) => {
    if (!passes(event) || raw.destroyed) return;
    raw.write(eventLine(event));
    if (raw.writableLength > maxBuffered) raw.destroy();
  };
  if (since !== undefined || until !== undefined) {
    for (const event of backend.events.recent()) {
      const time = BigInt(event.timeNano);
      if ((since === undefined || time >= since) && (until === undefined || time <= until)) send(event);
    }
  }
  // No event falls between the past ones and these: nothing was awaited in between.
  using _subscription = backend.events.subscribe(send);
  await untilOrGone(until, ctx.signal);
  raw.end();
  return streamed;
}

/** Resolves at the moment, or when the client goes. A moment that has passed is now. */
async function untilOrGone(until: bigint | undefined, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const gone = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  if (until === undefined) return await gone;
  const ms = Number(until / 1_000_000n) - Date.now();
  if (ms <= 0) return;
  await Promise.race([
    gone,
    delay(Math.min(ms, 2 ** 31 - 1), undefined, { signal, ref: false }).catch(() => undefined),
  ]);
}
