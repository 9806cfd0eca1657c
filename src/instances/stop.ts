import { isBerthError, messageOf } from "../base/errors.ts";
import { background, type OpContext } from "../base/op-context.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import { instanceErrors } from "./errors.ts";
import { driverOf, type Parts } from "./parts.ts";
import { isActive, resolveInstance } from "./resolve.ts";
import { SIGKILL, SIGTERM, signalNumber } from "./signals.ts";
import { invalid } from "./validate/invalid.ts";

const defaultTimeoutSeconds = 10;

/** How long the end of a killed instance may take to be noticed. */
const killPatienceMs = 10_000;

export interface StopOptions {
  readonly signal?: string;
  readonly timeoutSeconds?: number;
}

/** See {@link InstanceService.stop}. A stop that has begun goes on when the client goes away, as in Docker. */
export async function stopInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  options: StopOptions,
): Promise<{ readonly stopped: boolean }> {
  const record = resolveInstance(parts.records, nameOrId);
  const signal = stopSignal(record, options.signal);
  if (!isActive(record)) return { stopped: await breakOffStart(parts, record, "stopped") };
  await stopAndWait(parts, background(ctx.log), record, signal, options.timeoutSeconds, nameOrId);
  return { stopped: true };
}

export async function stopAndWait(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  signal: number,
  timeoutSeconds: number | undefined,
  calledName: string,
): Promise<void> {
  const seconds = timeoutSeconds ?? stopSeconds(record);
  const stopped = await signalAndWait(parts, ctx, record.id, signal, seconds < 0 ? undefined : seconds * 1000);
  if (!stopped) {
    const killed = await signalAndWait(parts, ctx, record.id, SIGKILL, killPatienceMs);
    if (!killed) throw instanceErrors.STOP_FAILED({ name: calledName, reason: "it did not end after SIGKILL" });
  }
  parts.publish(parts.records.get(record.id) ?? record, "stop");
}

/** How long it may take to heed the stop signal; negative is for ever. */
export function stopSeconds({ spec }: InstanceRecord): number {
  return spec.stopTimeout ?? defaultTimeoutSeconds;
}

/** SIGKILL, and its end. */
export async function killAndWait(parts: Parts, ctx: OpContext, id: string): Promise<void> {
  const killed = await signalAndWait(parts, ctx, id, SIGKILL, killPatienceMs);
  if (!killed) throw instanceErrors.STOP_FAILED({ name: id, reason: "it did not end after SIGKILL" });
}

/** See {@link InstanceService.kill}; SIGKILL also waits for the end. */
export async function killInstance(parts: Parts, ctx: OpContext, nameOrId: string, signalName: string): Promise<void> {
  const signal = signalName === "" ? SIGKILL : signalNumber(signalName);
  const record = resolveInstance(parts.records, nameOrId);
  if (signal === undefined) throw instanceErrors.KILL_SIGNAL_INVALID({ name: nameOrId, signal: signalName });
  if (!isActive(record)) {
    if (endsStart.has(signal) && (await breakOffStart(parts, record, "killed"))) return;
    throw instanceErrors.KILL_NOT_RUNNING({ name: nameOrId, id: record.id });
  }
  const own = background(ctx.log);
  if (signal === SIGKILL) return await killAndWait(parts, own, record.id);
  const final = record.spec.stopSignal === "" || signalNumber(record.spec.stopSignal) === signal;
  const sent = await sendSignal(parts, own, record.id, signal, final);
  if (!sent) throw instanceErrors.KILL_NOT_RUNNING({ name: nameOrId, id: record.id });
}

/** Signals that end a process that does not handle them: SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM. In a start nobody does yet. */
const endsStart: ReadonlySet<number> = new Set([1, 2, 3, SIGKILL, SIGTERM]);

/**
 * Gives up a start that is under way, be it that the machine is booting, and waits until it is undone. False when there is none, or it
 * came to its end.
 */
export async function breakOffStart(parts: Parts, { id, name }: InstanceRecord, how: string): Promise<boolean> {
  const { starting } = parts.lives.of(id);
  if (starting === undefined) return false;
  starting.abort(instanceErrors.START_BROKEN_OFF({ name, how }));
  using _ = await parts.locks.acquire(id);
  const now = parts.records.get(id);
  return now === undefined || !isActive(now);
}

/** Number of the signal that asks this instance to stop: the given one, the spec's, or SIGTERM. */
export function stopSignal(record: InstanceRecord, given: string | undefined): number {
  if (given !== undefined && given !== "") {
    const number = signalNumber(given);
    if (number === undefined) throw invalid(`invalid signal: ${given}`);
    return number;
  }
  return signalNumber(record.spec.stopSignal) ?? SIGTERM;
}

/** Whether it had stopped within `timeoutMs` (undefined: no bound). Not active is stopped. */
async function signalAndWait(
  parts: Parts,
  ctx: OpContext,
  id: string,
  signal: number,
  timeoutMs: number | undefined,
): Promise<boolean> {
  const giveUp = new AbortController();
  const stopped = parts.lives
    .of(id)
    .waits.next("stopped", giveUp.signal)
    .then(
      () => true,
      () => false,
    );
  try {
    if (!(await sendSignal(parts, ctx, id, signal, true))) return true;
    if (timeoutMs === undefined) return await stopped;
    const timeout = parts.clock.sleep(timeoutMs, giveUp.signal).then(
      () => false,
      () => false,
    );
    return await Promise.race([stopped, timeout]);
  } finally {
    giveUp.abort(new Error("no longer waited for"));
  }
}

/**
 * Sends a signal to an active instance, under its lock. `final`: its end is not to be followed by a restart. A frozen one is
 * thawed by a final signal, else it would never see it; a planned restart is called off instead. False when it is not active.
 */
async function sendSignal(parts: Parts, ctx: OpContext, id: string, signal: number, final: boolean): Promise<boolean> {
  const before = parts.records.get(id);
  // It is started by its policy just now.
  if (final && before?.state.status === "restarting") await breakOffStart(parts, before, "stopped");
  using _ = await parts.locks.acquire(id);
  const record = parts.records.get(id);
  if (record === undefined || !isActive(record)) return false;
  const live = parts.lives.of(id);
  if (record.state.status === "restarting") {
    callOffRestart(parts, record);
    return true;
  }
  if (final) live.exitIsFinal = true;
  const { handle, status } = record.state;
  if (handle === null) return false;
  const durable = record.spec.restartPolicy.name === "unless-stopped";
  if (!record.state.manuallyStopped) parts.records.setState(id, { manuallyStopped: true }, { durable });
  const driver = driverOf(parts, record.spec);
  try {
    await driver.signal(ctx, handle, signal);
    if (final && status === "paused") {
      await driver.resume(ctx, handle);
      parts.publish(parts.records.setState(id, { status: "running" }, { durable: false }), "unpause");
    }
  } catch (error) {
    // It ended by itself meanwhile: its exit is on the way and answers whoever waits.
    if (!isBerthError(error, "TASK_NOT_RUNNING")) {
      throw instanceErrors.STOP_FAILED({ name: record.name, reason: messageOf(error) }, { cause: error });
    }
  }
  parts.publish(record, "kill", { signal: String(signal) });
  return true;
}

/** A user's stop while it waits to be restarted by its policy: it stays as it ended. */
function callOffRestart(parts: Parts, record: InstanceRecord): void {
  const live = parts.lives.of(record.id);
  live.plannedRestart?.abort(new Error("the restart was called off"));
  live.plannedRestart = undefined;
  const { exitCode } = parts.records.setState(record.id, { status: "exited", manuallyStopped: true }).state;
  live.waits.stopped({ exitCode, error: "" });
}
