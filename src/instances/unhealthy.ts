import { isBerthError, messageOf } from "../base/errors.ts";
import { background } from "../base/op-context.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { Run } from "./live-instances.ts";
import { driverOf, type Parts } from "./parts.ts";
import { restartDelay } from "./restart-policy.ts";
import { SIGKILL } from "./signals.ts";
import { stopSeconds, stopSignal } from "./stop.ts";

/**
 * Ends a run that was found unhealthy, when its policy is to restart it then: with the stop signal, and SIGKILL after the stop timeout.
 * Its end counts as a failed one ({@link restartDelay}). What has no tries left is let run: ended, it would serve nobody.
 */
export async function endUnhealthy(parts: Parts, id: string, run: Run, until: AbortSignal): Promise<void> {
  const record = await signalUnhealthy(parts, id, run, (found) => stopSignal(found, undefined));
  if (record === undefined) return;
  const seconds = stopSeconds(record);
  // Without a bound it has all the time it wants, and a next probe must not ask it again.
  await parts.clock.sleep(seconds < 0 ? longestMs : seconds * 1000, until).catch(() => {});
  if (!until.aborted) await signalUnhealthy(parts, id, run, () => SIGKILL);
}

/** Node's timers fire at once beyond this. */
const longestMs = 2 ** 31 - 1;

/** Undefined when it is not to be ended, or has ended by itself. */
async function signalUnhealthy(
  parts: Parts,
  id: string,
  run: Run,
  signalOf: (record: InstanceRecord) => number,
): Promise<InstanceRecord | undefined> {
  if (!isToEnd(parts.records.get(id))) return undefined;
  using _ = await parts.locks.acquire(id);
  const record = parts.records.get(id);
  if (record === undefined || !isToEnd(record) || parts.lives.of(id).run !== run) return undefined;
  const { handle } = record.state;
  if (handle === null) return undefined;
  const signal = signalOf(record);
  try {
    await driverOf(parts, record.spec).signal(background(parts.log), handle, signal);
  } catch (error) {
    // Else its end is on the way. The next probe tries again: what can't be ended must still be probed.
    if (!isBerthError(error, "TASK_NOT_RUNNING")) {
      parts.log.warn({ instance: id, error: messageOf(error) }, "cannot end an unhealthy container");
    }
    return undefined;
  }
  parts.publish(record, "kill", { signal: String(signal) });
  return record;
}

function isToEnd(record: InstanceRecord | undefined): boolean {
  if (record?.state.status !== "running" || record.state.health?.status !== "unhealthy") return false;
  const { spec, state } = record;
  if (spec.restartPolicy.name !== "unhealthy") return false;
  const end = { exitCode: 0, unhealthy: true, ranMs: 0, exitIsFinal: false, lastDelayMs: 0 };
  const run = { ...end, manuallyStopped: state.manuallyStopped, restartCount: state.restartCount };
  return restartDelay(spec.restartPolicy, run) !== undefined;
}
