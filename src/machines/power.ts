/** The power button, the plug and the reset button. */
import { setTimeout as delay } from "node:timers/promises";
import { isBerthError } from "../base/errors.ts";
import { background, type OpContext } from "../base/op-context.ts";
import type { StopMachineAnswer, StopMachineBody } from "../schema/machine-api.ts";
import { machineRoomErrors } from "./errors.ts";
import { defaultStopSeconds } from "./hardware.ts";
import { type MachineParts, machinePaths, requireRunning, resolveMachine } from "./parts.ts";

/** A guest that is only booting does not see the button: it is pressed again. */
const pressAgainMs = 5_000;
const killed = 137;

export async function stopMachine(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  { timeout, force, orFail }: StopMachineBody,
): Promise<StopMachineAnswer> {
  const { instances } = parts;
  const { id, name, state, spec } = resolveMachine(parts, nameOrId);
  if (state.status !== "running" && state.status !== "paused" && state.status !== "restarting")
    return { how: "was off" };
  const seconds = timeout ?? spec.stopTimeout ?? defaultStopSeconds;
  // What has begun goes on when the client goes away, as in Docker.
  const own = background(ctx.log);
  if (force !== true && (await pressedUntilOff(parts, own, id, seconds * 1000))) return { how: "powered off" };
  if (force !== true && orFail === true) throw machineRoomErrors.GUEST_IGNORES_ACPI({ name, seconds });
  await instances.stop(own, id, { signal: "SIGKILL", timeoutSeconds: 10 });
  return { how: instances.resolve(id).state.exitCode === killed ? "forced" : "powered off" };
}

/** Whether the guest has powered off within `limitMs`. */
async function pressedUntilOff(
  { instances }: MachineParts,
  ctx: OpContext,
  id: string,
  limitMs: number,
): Promise<boolean> {
  const over = new AbortController();
  const deadline = performance.now() + limitMs;
  const { done } = await instances.wait({ ...ctx, signal: over.signal }, id, "not-running");
  const off = done.then(
    () => true,
    () => false,
  );
  try {
    for (let leftMs = limitMs; leftMs > 0; leftMs = deadline - performance.now()) {
      try {
        await instances.kill(ctx, id, "SIGTERM");
      } catch (error) {
        if (isBerthError(error, "KILL_NOT_RUNNING")) return true;
        throw error;
      }
      const waiting = delay(Math.min(leftMs, pressAgainMs), false, { signal: over.signal }).catch(() => false);
      if (await Promise.race([off, waiting])) return true;
    }
    return false;
  } finally {
    over.abort();
  }
}

export async function resetMachine(parts: MachineParts, ctx: OpContext, nameOrId: string): Promise<void> {
  const record = resolveMachine(parts, nameOrId);
  requireRunning(record);
  using monitor = await parts.monitors.open(ctx, machinePaths(parts, record.id).qmp);
  await monitor.qmp.execute(ctx, "system_reset");
}
