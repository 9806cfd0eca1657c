/** Putting a machine to sleep with all its memory. */
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import {
  forgetMemoryLeft,
  forgetResumePoint,
  hasResumePoint,
  noteMemoryLeft,
  readResumePoint,
  removeMemoryLeft as removeFromRunning,
  savedTag,
  writeResumePoint,
} from "../../instances/machine/resume-point.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import { deleteSnapshot, saveMachine as saveState } from "../../qemu/snapshots.ts";
import { machineRoomErrors } from "../errors.ts";
import { isMachine, type MachineParts, type MachineRecord, resolveMachine } from "../parts.ts";
import { devicesOf } from "./devices-of.ts";
import { liveErrors } from "./errors.ts";
import { keptDisks } from "./kept-disks.ts";
import { openMonitor } from "./monitor.ts";

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
    await deleteSnapshot(ctx, qmp, { tag: savedTag, nodes, name });
    await using reverter = new Reverter(ctx);
    await noteMemoryLeft(dataDir, nodes);
    reverter.add("remove what was saved", async (undo) => {
      // Where QEMU has gone, it is for the next start.
      if (!qmp.isClosed) await removeFromRunning(undo, qmp, dataDir, name);
    });
    // Nothing is written after it was saved: it stands still from before until it ends.
    reverter.add("let it go on", async (undo) => {
      if (!qmp.isClosed) await qmp.execute(undo, "cont");
    });
    await qmp.execute(ctx, "stop");
    await saveState(ctx, qmp, { tag: savedTag, nodes, name });
    await writeResumePoint(dataDir, { tag: savedTag, nodes, name, keep: false });
    // With a resume point beside it, the note says nothing.
    reverter.commit();
  });
  await using reverter = new Reverter(ctx);
  reverter.add("let it go on", (undo) => unsave(parts, undo, id));
  await parts.instances.stop(ctx, id, { signal: "SIGKILL", timeoutSeconds: 10 });
  reverter.commit();
}

/** Of one that could not be switched off, and stands still. */
async function unsave(parts: MachineParts, ctx: OpContext, id: string): Promise<void> {
  await parts.instances.exclusive(ctx, id, async ({ record, dataDir }) => {
    if (record.state.status !== "running") return;
    using monitor = await openMonitor(parts, ctx, record);
    await forgetResumePoint(dataDir);
    await monitor.qmp.execute(ctx, "cont");
    await removeFromRunning(ctx, monitor.qmp, dataDir, record.name);
  });
}

/** The next start boots. `MACHINE_NOT_SAVED`. */
export async function discardSaved(parts: MachineParts, ctx: OpContext, nameOrId: string): Promise<void> {
  const { id } = resolveMachine(parts, nameOrId);
  await parts.instances.exclusive(ctx, id, async ({ record, dataDir }) => {
    const point = await readResumePoint(dataDir);
    if (point === undefined || !isMachine(record)) throw liveErrors.MACHINE_NOT_SAVED({ machine: record.name });
    if (!point.keep) await noteMemoryLeft(dataDir, point.nodes);
    await forgetResumePoint(dataDir);
    if (!point.keep) await removeMemoryLeft(parts, ctx, record, dataDir);
  });
}

/** Memory in the disks that nothing goes on from. Of a machine that runs, `qmp` is its monitor. */
export async function removeMemoryLeft(
  parts: MachineParts,
  ctx: OpContext,
  { name, spec }: MachineRecord,
  dataDir: string,
  qmp?: QmpClient,
): Promise<void> {
  if (qmp !== undefined) return await removeFromRunning(ctx, qmp, dataDir, name);
  for (const disk of keptDisks(name, spec.machine, dataDir)) await parts.disks.snapshot(ctx, disk, "delete", savedTag);
  await forgetMemoryLeft(dataDir);
}

/** Before anything that changes disks or hardware of a machine that is off. `MACHINE_SAVED`. */
export function requireNotSaved(machine: string, dataDir: string): void {
  if (hasResumePoint(dataDir)) throw liveErrors.MACHINE_SAVED({ machine });
}
