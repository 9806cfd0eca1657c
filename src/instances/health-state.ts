import type { HealthProbe, HealthState, InstanceSpec } from "../schema/instance.ts";

/** As many as Docker keeps. */
const keptProbes = 5;

const nsPerMs = 1_000_000;

/** Node's timers fire at once beyond this (24 days). */
const longestTimerMs = 2 ** 31 - 1;

/** Milliseconds, with Docker's defaults. */
export interface ProbePlan {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
  readonly retries: number;
}

/** Undefined when the instance has no health check. */
export function probePlan({ healthcheck }: Pick<InstanceSpec, "healthcheck">): ProbePlan | undefined {
  const kind = healthcheck?.Test?.[0];
  if (healthcheck === null || (kind !== "CMD" && kind !== "CMD-SHELL")) return undefined;
  const ms = (ns: number | undefined, fallback: number) =>
    ns === undefined || ns === 0 ? fallback : Math.min(ns / nsPerMs, longestTimerMs);
  return {
    intervalMs: ms(healthcheck.Interval, 30_000),
    timeoutMs: ms(healthcheck.Timeout, 30_000),
    startPeriodMs: ms(healthcheck.StartPeriod, 0),
    startIntervalMs: ms(healthcheck.StartInterval, 5_000),
    retries: healthcheck.Retries === undefined || healthcheck.Retries === 0 ? 3 : healthcheck.Retries,
  };
}

export function initialHealth(spec: Pick<InstanceSpec, "healthcheck">): HealthState | null {
  return probePlan(spec) === undefined ? null : { status: "starting", failingStreak: 0, log: [] };
}

/** Time from the end of one probe to the next. */
export function nextProbeDelay(plan: ProbePlan, health: HealthState, sinceStartMs: number): number {
  const starting = sinceStartMs < plan.startPeriodMs && health.status === "starting";
  return starting ? plan.startIntervalMs : plan.intervalMs;
}

/** The health after `probe`: one success makes it healthy, `retries` failures in a row (none counted in the start period) unhealthy. */
export function withProbe(
  plan: ProbePlan,
  health: HealthState,
  probe: HealthProbe,
  probeSinceStartMs: number,
): HealthState {
  const log = [...health.log, probe].slice(-keptProbes);
  if (probe.exitCode === 0) return { status: "healthy", failingStreak: 0, log };
  if (health.status === "starting" && probeSinceStartMs < plan.startPeriodMs) return { ...health, log };
  const failingStreak = health.failingStreak + 1;
  return { status: failingStreak >= plan.retries ? "unhealthy" : health.status, failingStreak, log };
}
