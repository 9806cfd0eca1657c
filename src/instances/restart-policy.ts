import { backoffDelay } from "../base/backoff.ts";
import type { RestartPolicy } from "../schema/instance.ts";

/** What a restart by policy depends on when a run has ended. */
export interface EndedRun {
  readonly exitCode: number;
  /** What its health check had found when it ended. */
  readonly unhealthy: boolean;
  readonly ranMs: number;
  /** A user's stop or kill ended it. */
  readonly exitIsFinal: boolean;
  /** A user's signal was the last thing that happened to it, whether or not it was meant to end it. */
  readonly manuallyStopped: boolean;
  readonly restartCount: number;
  /** Delay of the restart before, milliseconds; 0 when there was none. */
  readonly lastDelayMs: number;
}

const backoff = { initialMs: 100, maxMs: 60_000, factor: 2 } as const;

/** A run of this length or more starts the delays from their beginning. */
const steadyMs = 10_000;

/** Milliseconds to wait before the restart that the policy asks for; undefined when it asks for none. Docker's rules, and `unhealthy`. */
export function restartDelay(policy: RestartPolicy, run: EndedRun): number | undefined {
  if (run.exitIsFinal || !wantsRestart(policy, run)) return undefined;
  if (run.lastDelayMs === 0 || run.ranMs >= steadyMs) return backoff.initialMs;
  return Math.min(backoff.maxMs, backoffDelay({ ...backoff, initialMs: run.lastDelayMs }, 1));
}

function wantsRestart(policy: RestartPolicy, run: EndedRun): boolean {
  switch (policy.name) {
    case "no":
      return false;
    case "always":
      return true;
    case "unless-stopped":
      return !run.manuallyStopped;
    case "on-failure":
      return run.exitCode !== 0 && hasTriesLeft(policy, run);
    case "unhealthy":
      return (run.exitCode !== 0 || (run.unhealthy && !run.manuallyStopped)) && hasTriesLeft(policy, run);
  }
}

function hasTriesLeft({ maximumRetryCount: most }: RestartPolicy, { restartCount }: EndedRun): boolean {
  return most === 0 || restartCount < most;
}
