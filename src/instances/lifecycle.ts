import { backoffDelay } from "../base/backoff.ts";
import { BerthError, messageOf } from "../base/errors.ts";
import { background, type OpContext, withSignal } from "../base/op-context.ts";
import type { InstanceRecord, InstanceState } from "../schema/instance.ts";
import type { TaskExit } from "./driver.ts";
import { instanceErrors } from "./errors.ts";
import { endRun, type Outcome } from "./exit.ts";
import { watchHealth } from "./health.ts";
import type { Run } from "./live-instances.ts";
import { beginOperation, runOf } from "./open-operations.ts";
import type { Parts } from "./parts.ts";
import { removeStopped } from "./remove.ts";
import { claimOf } from "./request.ts";
import { isActive, resolveInstance } from "./resolve.ts";
import { followRun, launch } from "./start.ts";
import { type StopOptions, stopAndWait, stopSignal } from "./stop.ts";

/** See {@link InstanceService.start}. */
export async function startInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
): Promise<{ readonly started: boolean }> {
  const { id } = resolveInstance(parts.records, nameOrId);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  switch (record.state.status) {
    case "paused":
      throw instanceErrors.START_PAUSED({});
    case "running":
    case "restarting":
      return { started: false };
    case "removing":
    case "dead":
      throw instanceErrors.MARKED_FOR_REMOVAL({});
    case "created":
    case "exited":
      await startByUser(parts, ctx, record);
      return { started: true };
  }
}

/** See {@link InstanceService.restart}. Goes on when the client goes away: stopped without being started again is no outcome. */
export async function restartInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  options: StopOptions,
): Promise<void> {
  const record = resolveInstance(parts.records, nameOrId);
  const signal = stopSignal(record, options.signal);
  const own = background(ctx.log);
  const live = parts.lives.of(record.id);
  // Nobody takes its place while it is stopped.
  using _held = isActive(record) ? parts.ledger.admit(claimOf(record)) : undefined;
  using _operation = beginOperation(parts, "instance.restart", record.id, { ...options, run: runOf(record) });
  live.restarting = true;
  try {
    if (isActive(record)) await stopAndWait(parts, own, record, signal, options.timeoutSeconds, nameOrId);
    await startInstance(parts, own, record.id);
  } finally {
    live.restarting = false;
  }
  parts.publish(parts.records.get(record.id) ?? record, "restart");
}

/** Takes up again a run that recovery found going on. */
export function resumeRun(parts: Parts, record: InstanceRecord): void {
  const { handle, startedAt } = record.state;
  if (handle === null) return;
  followRun(parts, record, handle, Date.parse(startedAt), (run, exit) => onExit(parts, record.id, run, exit));
  watchHealth(parts, record.id);
}

/** The end of a run that recovery came too late to see. */
export async function recordMissedExit(parts: Parts, ctx: OpContext, id: string, exit: TaskExit): Promise<void> {
  using _ = await parts.locks.acquire(id);
  const record = parts.records.get(id);
  if (record === undefined) return;
  const ranMs = Math.max(0, Date.parse(exit.finishedAt) - Date.parse(record.state.startedAt));
  afterRun(parts, id, await endRun(parts, ctx, record, exit, Number.isNaN(ranMs) ? 0 : ranMs));
}

/**
 * Finishes a restart that a kill of the engine cut in two before its instance had ended: it may have its signal already, and stopped
 * without being started again is no outcome.
 */
export async function finishRestart(parts: Parts, id: string, options: StopOptions): Promise<void> {
  try {
    await restartInstance(parts, background(parts.log), id, options);
  } catch (error) {
    if (parts.records.get(id) === undefined) return;
    parts.log.error({ instance: id, error: messageOf(error) }, "could not be restarted");
  }
}

/**
 * Says that the engine's own start is about to start it. Until {@link startAsPlanned} it is told as restarting: who asks sees that
 * more is to come, and a user's stop calls it off, which it could not do to one that counts as stopped.
 */
export function planStart(parts: Parts, id: string): AbortController {
  const planned = new AbortController();
  parts.lives.of(id).plannedRestart = planned;
  parts.records.setState(id, { status: "restarting" }, { durable: false });
  return planned;
}

/** Starts, at the engine's own start, what its policy keeps running and what was being restarted. */
export async function startAsPlanned(parts: Parts, id: string, planned: AbortController): Promise<void> {
  using _ = await parts.locks.acquire(id);
  const ctx = background(parts.log);
  await startPlanned(parts, id, planned, (record) => startByUser(parts, ctx, record));
  const record = parts.records.get(id);
  // It was being restarted, and is to stay as it ended now.
  if (record?.spec.autoRemove === true && record.state.status === "exited") {
    await removeStopped(parts, ctx, record, { volumes: true });
  }
}

async function startByUser(parts: Parts, ctx: OpContext, record: InstanceRecord): Promise<void> {
  const live = parts.lives.of(record.id);
  live.restartDelayMs = 0;
  // A start that has begun is finished or undone as a whole, whether or not the client stays.
  await startLocked(parts, background(ctx.log), record, { restartCount: 0, manuallyStopped: false });
}

async function startLocked(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  state: Partial<InstanceState>,
): Promise<void> {
  const { id } = record;
  const live = parts.lives.of(id);
  const starting = new AbortController();
  live.exitIsFinal = false;
  live.starting = starting;
  try {
    // Held until the record says that it runs.
    using _held = parts.ledger.admit(claimOf(record));
    const own = withSignal(ctx, starting.signal);
    await launch(parts, own, record, state, (run, exit) => onExit(parts, id, run, exit));
  } catch (failure) {
    // Whatever came of it on the way: this is why.
    const error: unknown = starting.signal.aborted ? starting.signal.reason : failure;
    await recordFailedStart(parts, ctx, id, error);
    throw error;
  } finally {
    live.starting = undefined;
  }
  watchHealth(parts, id);
}

const failureCodes: ReadonlyMap<string, number> = new Map([
  ["COMMAND_NOT_FOUND", 127],
  ["COMMAND_NOT_EXECUTABLE", 126],
  ["START_BROKEN_OFF", 137],
]);

/** What a start that failed leaves to be inspected: Docker's exit codes 127 (no such command), 126 (can't be run), 128. */
async function recordFailedStart(parts: Parts, ctx: OpContext, id: string, error: unknown): Promise<void> {
  const code = error instanceof BerthError ? error.code : "";
  const exitCode = failureCodes.get(code) ?? 128;
  const live = parts.lives.of(id);
  for (const session of live.waitingSessions) session.end();
  live.waitingSessions.clear();
  const record = parts.records.setState(id, { error: messageOf(error), exitCode, handle: null, pid: 0 });
  if (record.spec.autoRemove) await removeStopped(parts, ctx, record, { volumes: true });
}

/** An end that can't be recorded now (a full disk) is so later: until then the instance would be told as running. */
const recordAgain = { initialMs: 100, maxMs: 5000, factor: 2 };

async function onExit(parts: Parts, id: string, run: Run, exit: TaskExit): Promise<void> {
  const ranMs = parts.clock.now() - run.startedAtMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return await recordExit(parts, id, run, exit, ranMs);
    } catch (error) {
      parts.log.error({ instance: id, error: messageOf(error) }, "cannot record its end: trying again");
    }
    try {
      await parts.clock.sleep(backoffDelay(recordAgain, attempt), parts.background.closing);
    } catch {
      return; // The engine closes; its next start finds the end by itself.
    }
  }
}

async function recordExit(parts: Parts, id: string, run: Run, exit: TaskExit, ranMs: number): Promise<void> {
  using _ = await parts.locks.acquire(id);
  const live = parts.lives.of(id);
  const record = parts.records.get(id);
  if (record === undefined || live.run !== run) return;
  run.ended.abort(new Error("the run has ended"));
  const outcome = await endRun(parts, background(parts.log), record, exit, ranMs);
  live.run = undefined;
  afterRun(parts, id, outcome);
}

function afterRun(parts: Parts, id: string, outcome: Outcome): void {
  if (outcome.kind !== "restart") return;
  const { delayMs, planned } = outcome;
  parts.background.run(`restart of ${id}`, () => restartLater(parts, id, delayMs, planned));
}

async function restartLater(parts: Parts, id: string, delayMs: number, planned: AbortController): Promise<void> {
  try {
    await parts.clock.sleep(delayMs, AbortSignal.any([planned.signal, parts.background.closing]));
  } catch {
    // Called off by a user, who has recorded that; or the engine closes, and its next start takes it up.
    return;
  }
  using _ = await parts.locks.acquire(id);
  await startPlanned(parts, id, planned, (record) => startLocked(parts, background(parts.log), record, {}));
}

/** Starts what is told as restarting, whose lock is held, unless that was called off; what can't be started counts as ended. */
async function startPlanned(
  parts: Parts,
  id: string,
  planned: AbortController,
  start: (record: InstanceRecord) => Promise<void>,
): Promise<void> {
  const record = parts.records.get(id);
  if (record?.state.status !== "restarting" || planned.signal.aborted) return;
  parts.lives.of(id).plannedRestart = undefined;
  try {
    await start(record);
  } catch (error) {
    parts.log.error({ instance: id, error: messageOf(error) }, "could not be restarted");
    if (parts.records.get(id) === undefined) return;
    const { exitCode } = parts.records.setState(id, { status: "exited" }).state;
    parts.lives.of(id).waits.stopped({ exitCode, error: messageOf(error) });
  }
}
