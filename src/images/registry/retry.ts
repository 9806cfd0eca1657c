import { type BackoffPolicy, backoffDelay } from "../../base/backoff.ts";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { TransportTimeout } from "./transport.ts";

export interface RetryPolicy {
  /** Tries in all, the first included. */
  readonly attempts: number;
  readonly backoff: BackoffPolicy;
  /** A registry that asks for a longer pause (Retry-After) gets this one, milliseconds. */
  readonly maxRetryAfterMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 5,
  backoff: { initialMs: 250, maxMs: 4_000, factor: 2 },
  maxRetryAfterMs: 30_000,
};

/** So many tries in a row may end in silence: each has cost a whole timeout, and who waits wants to know. */
const MAX_SILENCES = 2;

/** A failure that may pass: thrown inside {@link withRetries} to ask for another try. */
export class TransientFailure extends Error {
  /** The registry's wish, milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** What to throw when there are no tries left; gets their number. */
  readonly giveUp: (attempts: number) => Error;

  constructor(giveUp: (attempts: number) => Error, cause: unknown, retryAfterMs?: number) {
    super(messageOf(cause), { cause });
    this.giveUp = giveUp;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Retrying, for one client. */
export interface Retries {
  readonly policy: RetryPolicy;
  readonly clock: Clock;
}

/** Runs `work` until it does not throw a {@link TransientFailure}, with growing pauses. `restart` (progress was made) counts from zero again. */
export async function withRetries<T>(
  ctx: OpContext,
  { policy, clock }: Retries,
  work: (restart: () => void) => Promise<T>,
): Promise<T> {
  let failures = 0;
  let silences = 0;
  for (;;) {
    try {
      return await work(() => {
        failures = 0;
        silences = 0;
      });
    } catch (error) {
      if (!(error instanceof TransientFailure)) throw error;
      ctx.signal.throwIfAborted();
      failures += 1;
      silences = error.cause instanceof TransportTimeout ? silences + 1 : 0;
      if (failures >= policy.attempts || silences >= MAX_SILENCES) throw error.giveUp(failures);
      const wished = Math.min(error.retryAfterMs ?? 0, policy.maxRetryAfterMs);
      const pause = Math.max(backoffDelay(policy.backoff, failures - 1), wished);
      ctx.log.debug(
        { error: error.message, attempt: failures, pauseMs: pause },
        "registry request failed, trying again",
      );
      await clock.sleep(pause, ctx.signal);
    }
  }
}

/** "120" or an HTTP date, as milliseconds from now. */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
