/** A policy of growing delays. All times in milliseconds. */
export interface BackoffPolicy {
  readonly initialMs: number;
  readonly maxMs: number;
  /** Growth for each attempt; 2 doubles. */
  readonly factor: number;
}

/** Delay before attempt `attempt` (0 is the first retry), capped at `maxMs`. */
export function backoffDelay(policy: BackoffPolicy, attempt: number): number {
  return Math.min(policy.maxMs, policy.initialMs * policy.factor ** attempt);
}
