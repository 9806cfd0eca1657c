import type { OpContext } from "../../base/op-context.ts";
import type { MonitorLease } from "../../qemu/monitors.ts";
import type { InstanceRecord } from "../../schema/instance.ts";
import { machineRoomErrors } from "../errors.ts";
import { type MachineParts, machinePaths } from "../parts.ts";
import { liveErrors } from "./errors.ts";

export function isRunning({ state }: InstanceRecord): boolean {
  return state.status === "running" || state.status === "paused";
}

/** The monitor of a machine that runs. `MACHINE_NOT_RUNNING`, `MACHINE_PAUSED`. */
export async function openMonitor(parts: MachineParts, ctx: OpContext, record: InstanceRecord): Promise<MonitorLease> {
  const { id, name, state } = record;
  if (state.status === "paused") throw liveErrors.MACHINE_PAUSED({ machine: name });
  if (state.status !== "running") throw machineRoomErrors.MACHINE_NOT_RUNNING({ name });
  return await parts.monitors.open(ctx, machinePaths(parts, id).qmp);
}
