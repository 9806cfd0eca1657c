/** Putting a machine to sleep with all its memory, and recovery of what was cut short. */
import { isBerthError, messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import {
  forgetResumePoint,
  hasResumePoint,
  readResumePoint,
  writeResumePoint,
} from "../../instances/machine/resume-point.ts";
import { objectOf, stringOf } from "../../qemu/reply.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import { deleteSnapshot, saveMachine as saveState } from "../../qemu/snapshots.ts";
import { machineRoomErrors } from "../errors.ts";
import { isMachine, type MachineParts, machinePaths, resolveMachine } from "../parts.ts";
import { devicesOf } from "./devices-of.ts";
import { liveErrors } from "./errors.ts";
import { thawLeftOver } from "./freeze.ts";
import { keptDisks } from "./kept-disks.ts";
import { openMonitor } from "./monitor.ts";
import { removeLeftOvers } from "./whole-disks.ts";

const tag = "berth-saved";

/** Its next start goes on where it is now. It is off when this returns. `DEVICES_PLUGGED_IN`. */
export async function saveMachine(parts: MachineParts, ctx: OpContext, nameOrId: string): Promise<void> {
  const { id } = resolveMachine(parts, nameOrId);
  await parts.instances.exclusive(ctx, id, async ({ record, dataDir }) => {
    if (!isMachine(record)) throw machineRoomErrors.MACHINE_NOT_FOUND({ name: nameOrId });
    const { name } = record;
    const nodes = keptDisks(name, record.spec.machine, dataDir).map(({ node }) => node);
    using monitor = await openMonitor(parts, ctx, record);
    const { qmp } = monitor;
    const { pluggedIn } = await devicesOf(ctx, qmp);
    if (pluggedIn.length > 0) throw liveErrors.DEVICES_PLUGGED_IN({ machine: name, devices: pluggedIn });
    await deleteSnapshot(ctx, qmp, { tag, nodes, name });
    // Nothing is written after it was saved: it stands still from before until it ends.
    await qmp.execute(ctx, "stop");
    try {
      await saveState(ctx, qmp, { tag, nodes, name });
      await writeResumePoint(dataDir, { tag, nodes, name, keep: false });
    } catch (error) {
      await qmp.execute(ctx, "cont");
      throw error;
    }
  });
  await parts.instances.stop(ctx, id, { signal: "SIGKILL", timeoutSeconds: 10 });
}

/** The next start boots. `MACHINE_NOT_SAVED`. */
export async function discardSaved(parts: MachineParts, ctx: OpContext, nameOrId: string): Promise<void> {
  const { id } = resolveMachine(parts, nameOrId);
  await parts.instances.exclusive(ctx, id, async ({ record, dataDir }) => {
    const point = await readResumePoint(dataDir);
    if (point === undefined || !isMachine(record)) throw liveErrors.MACHINE_NOT_SAVED({ machine: record.name });
    await forgetResumePoint(dataDir);
    if (point.keep) return;
    for (const disk of keptDisks(record.name, record.spec.machine, dataDir)) {
      await parts.disks.snapshot(ctx, disk, "delete", point.tag);
    }
  });
}

/** Before anything that changes disks or hardware of a machine that is off. `MACHINE_SAVED`. */
export function requireNotSaved(machine: string, dataDir: string): void {
  if (hasResumePoint(dataDir)) throw liveErrors.MACHINE_SAVED({ machine });
}

/** At the engine's start: lets go on what a killed engine has stopped, ends what it had saved, removes what it was copying. */
export async function mendMachine(parts: MachineParts, ctx: OpContext, id: string): Promise<void> {
  try {
    const { dataDir, isSaved } = await parts.instances.exclusive(ctx, id, async ({ record, dataDir }) => {
      if (record.state.status === "paused") return { dataDir, isSaved: false };
      if (record.state.status !== "running") {
        await removeLeftOvers(ctx, dataDir, undefined);
        return { dataDir, isSaved: false };
      }
      using monitor = await openMonitor(parts, ctx, record);
      await removeLeftOvers(ctx, dataDir, monitor.qmp);
      const status = await runState(ctx, monitor.qmp);
      const isSaved = hasResumePoint(dataDir);
      if (status === "running") await forgetResumePoint(dataDir);
      else if (!isSaved && (status === "paused" || status === "prelaunch")) await monitor.qmp.execute(ctx, "cont");
      return { dataDir, isSaved: isSaved && status !== "running" };
    });
    if (isSaved) await parts.instances.stop(ctx, id, { signal: "SIGKILL", timeoutSeconds: 10 });
    else await thawLeftOver(ctx, parts.agents.at(machinePaths(parts, id).qga), dataDir);
  } catch (error) {
    if (!isBerthError(error)) throw error;
    ctx.log.warn({ machine: id, error: messageOf(error) }, "what was going on with a machine is not known");
  }
}

async function runState(ctx: OpContext, qmp: QmpClient): Promise<string> {
  return stringOf(objectOf(await qmp.execute(ctx, "query-status"), "status")["status"], "status");
}
