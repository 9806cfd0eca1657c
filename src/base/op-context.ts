import { type Logger, silentLogger } from "./logger.ts";

/**
 * What every operation that does I/O takes first: when to give up, and where to log.
 * Derive with {@link withTimeout} or {@link withLog}; never store one past the operation.
 */
export interface OpContext {
  /** Aborted when the caller went away or the deadline passed. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** A context with no deadline, for the engine's own work and for tests. */
export function background(log: Logger = silentLogger): OpContext {
  return { signal: new AbortController().signal, log };
}

/** The same operation, given up after `ms` milliseconds at the latest. */
export function withTimeout(ctx: OpContext, ms: number): OpContext {
  return { ...ctx, signal: AbortSignal.any([ctx.signal, AbortSignal.timeout(ms)]) };
}

/** The same operation, also given up when `signal` is aborted. */
export function withSignal(ctx: OpContext, signal: AbortSignal): OpContext {
  return { ...ctx, signal: AbortSignal.any([ctx.signal, signal]) };
}

/** The same operation with more fields on each log line. */
export function withLog(ctx: OpContext, fields: object): OpContext {
  return { ...ctx, log: ctx.log.child(fields) };
}

/**
 * The context in which cleanup of `ctx` runs: its log, but a fresh deadline,
 * since the operation's own signal is usually what made the cleanup necessary.
 */
export function cleanupContext(ctx: OpContext, ms = 30_000): OpContext {
  return { log: ctx.log, signal: AbortSignal.timeout(ms) };
}
