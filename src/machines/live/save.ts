/** Putting a machine to sleep with all its memory. */
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import {
  forgetMemoryLeft,
  forgetResumePoint,
  hasResumePoint,
  noteMemoryLeft,
  readResumePoint,
  writeResumePoint,
} from "../../instances/machine/resume-point.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import { deleteSnapshot, saveMachine as saveState, type SnapshotRequest } from "../../qemu/snapshots.ts";
import { machineRoomErrors } from "../errors.ts";
import { isMachine, type MachineParts, type MachineRecord, resolveMachine } from "../parts.ts";
import { devicesOf } from "./devices-of.ts";
import { liveErrors } from "./errors.ts";
import { keptDisks } from "./kept-disks.ts";
import { openMonitor } from "./monitor.ts";

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
    await using reverter = new Reverter(ctx);
    await noteMemoryLeft(dataDir);
    reverter.add("remove what was saved", (undo) => removeMemory(undo, dataDir, qmp, { tag, nodes, name }));
    // Nothing is written after it was saved: it stands still from before until it ends.
    reverter.add("let it go on", async (undo) => {
      if (!qmp.isClosed) await qmp.execute(undo, "cont");
    });
    await qmp.execute(ctx, "stop");
    await saveState(ctx, qmp, { tag, nodes, name });
    await writeResumePoint(dataDir, { tag, nodes, name, keep: false });
    reverter.commit();
    await forgetMemoryLeft(dataDir);
  });
  await parts.instances.stop(ctx, id, { signal: "SIGKILL", timeoutSeconds: 10 });
}

/** The next start boots. `MACHINE_NOT_SAVED`. */
export async function discardSaved(parts: MachineParts, ctx: OpContext, nameOrId: string): Promise<void> {
  const { id } = resolveMachine(parts, nameOrId);
  await parts.instances.exclusive(ctx, id, async ({ record, dataDir }) => {
    const point = await readResumePoint(dataDir);
    if (point === undefined || !isMachine(record)) throw liveErrors.MACHINE_NOT_SAVED({ machine: record.name });
    if (!point.keep) await noteMemoryLeft(dataDir);
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
  const disks = keptDisks(name, spec.machine, dataDir);
  if (qmp !== undefined) {
    await removeMemory(ctx, dataDir, qmp, { tag, nodes: disks.map(({ node }) => node), name });
    return;
  }
  for (const disk of disks) await parts.disks.snapshot(ctx, disk, "delete", tag);
  await forgetMemoryLeft(dataDir);
}

/** Where QEMU has gone, what it leaves is for the engine's next start. */
async function removeMemory(ctx: OpContext, dataDir: string, qmp: QmpClient, at: SnapshotRequest): Promise<void> {
  if (qmp.isClosed) return;
  await deleteSnapshot(ctx, qmp, at);
  await forgetMemoryLeft(dataDir);
}

/** Before anything that changes disks or hardware of a machine that is off. `MACHINE_SAVED`. */
export function requireNotSaved(machine: string, dataDir: string): void {
  if (hasResumePoint(dataDir)) throw liveErrors.MACHINE_SAVED({ machine });
}
