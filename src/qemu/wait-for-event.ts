import { type OpContext, withTimeout } from "../base/op-context.ts";
import type { EventStream } from "./event-stream.ts";
import type { QmpEvent } from "./qmp-client.ts";

/**
 * The first event of `events` that `matches`; undefined when the connection ends or `limitMs` passes before it. Subscribe before the
 * command that causes it.
 */
export async function waitForEvent(
  ctx: OpContext,
  events: EventStream,
  matches: (event: QmpEvent) => boolean,
  limitMs: number,
): Promise<QmpEvent | undefined> {
  const { signal } = withTimeout(ctx, limitMs);
  const end = () => events.end();
  signal.addEventListener("abort", end, { once: true });
  try {
    for (;;) {
      const next = await events.next();
      ctx.signal.throwIfAborted();
      if (next.done === true) return undefined;
      if (matches(next.value)) return next.value;
    }
  } finally {
    signal.removeEventListener("abort", end);
  }
}
