/** Snapshots of a machine: its disks, and when it runs its memory and devices with them, as a tree. */
import { newId } from "../../base/ids.ts";
import { messageOf } from "../../base/errors.ts";
import { background, cleanupContext, type OpContext } from "../../base/op-context.ts";
import type { HeldInstance } from "../../instances/instance-service.ts";
import { hasResumePoint, writeResumePoint } from "../../instances/machine/resume-point.ts";
import { deleteSnapshot, loadMachine, saveMachine, snapshotDisks } from "../../qemu/snapshots.ts";
import type { MachineSnapshot, CreateSnapshotBody, RevertSnapshotBody } from "../../schema/machine-live-api.ts";
import { isMachine, type MachineParts, machinePaths, type MachineRecord, resolveMachine } from "../parts.ts";
import { machineRoomErrors } from "../errors.ts";
import { devicesOf } from "./devices-of.ts";
import { liveErrors } from "./errors.ts";
import { freezeGuest } from "./freeze.ts";
import { hardwareDifferences } from "./hardware-differences.ts";
import { keptDisks } from "./kept-disks.ts";
import { isRunning, openMonitor } from "./monitor.ts";
import {
  type Book,
  findSnapshot,
  readBook,
  replaced,
  type SnapshotEntry,
  tagOf,
  without,
  writeBook,
} from "./snapshot-book.ts";

/** A machine whose lock is held, with its book of snapshots in order. */
interface Held {
  readonly record: MachineRecord;
  readonly book: Book;
  readonly dataDir: string;
  readonly held: HeldInstance;
}

/** A guest's clock stood still meanwhile; its agent is asked to set it, and not waited for longer than this. */
const clockMs = 3_000;

export async function createSnapshot(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  { name: wanted, description = "", memory }: CreateSnapshotBody,
): Promise<MachineSnapshot> {
  return await withBook(parts, ctx, nameOrId, async (at) => {
    const { record, book, dataDir } = at;
    const withMemory = memory ?? isRunning(record);
    if (withMemory && !isRunning(record)) throw machineRoomErrors.MACHINE_NOT_RUNNING({ name: record.name });
    const id = newId().slice(0, 8);
    const name = wanted ?? `snapshot-${id}`;
    if (book.snapshots.some((each) => each.name === name)) {
      throw liveErrors.SNAPSHOT_EXISTS({ snapshot: name, machine: record.name });
    }
    const disks = keptDisks(record.name, record.spec.machine, dataDir);
    using monitor = isRunning(record) ? await openMonitor(parts, ctx, record) : undefined;
    const list = monitor === undefined ? undefined : await devicesOf(ctx, monitor.qmp);
    const entry: SnapshotEntry = {
      id,
      name,
      description,
      parent: book.current,
      createdAt: new Date().toISOString(),
      memory: withMemory,
      devices: [...(list?.devices ?? [])],
      asStarted: list === undefined || list.pluggedIn.length === 0,
      machine: record.spec.machine,
      resources: record.spec.resources,
      state: "making",
    };
    await writeBook(dataDir, { ...book, snapshots: [...book.snapshots, entry] });
    try {
      const request = { tag: tagOf(entry), nodes: disks.map(({ node }) => node), name };
      if (monitor === undefined) for (const disk of disks) await parts.disks.snapshot(ctx, disk, "create", request.tag);
      else if (withMemory) await saveMachine(ctx, monitor.qmp, request);
      else {
        await using frozen = await freezeGuest(ctx, parts.agents.at(machinePaths(parts, record.id).qga), dataDir);
        await snapshotDisks(ctx, monitor.qmp, request);
        await frozen.thaw();
      }
    } catch (error) {
      await tryTakeAway(parts, cleanupContext(ctx), { ...at, book: await readBook(dataDir) }, entry);
      throw error;
    }
    const ready: SnapshotEntry = { ...entry, state: "ready" };
    await writeBook(dataDir, { ...book, snapshots: [...book.snapshots, ready], current: id });
    return viewOf(ready, id);
  });
}

export async function listSnapshots(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
): Promise<readonly MachineSnapshot[]> {
  return await withBook(parts, ctx, nameOrId, async ({ book }) =>
    book.snapshots.map((entry) => viewOf(entry, book.current)),
  );
}

export async function removeSnapshot(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  snapshot: string,
): Promise<void> {
  await withBook(parts, ctx, nameOrId, async (at) => {
    requireNotSaved(at);
    await takeAway(parts, ctx, at, findSnapshot(at.book, snapshot, at.record.name));
  });
}

/**
 * Puts a machine back to a snapshot. With memory it runs as it did then, in place where its devices are the same; with disks alone it
 * boots from them, if it ran before.
 */
export async function revertToSnapshot(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  snapshot: string,
  { disksOnly = false }: RevertSnapshotBody,
): Promise<void> {
  const { id } = resolveMachine(parts, nameOrId);
  const plan = await withBook(parts, ctx, id, async (at) => {
    const entry = findSnapshot(at.book, snapshot, at.record.name);
    const differences = hardwareDifferences(entry.machine, at.record.spec.machine);
    if (differences.length > 0) throw liveErrors.SNAPSHOT_HARDWARE_DIFFERS({ snapshot: entry.name, differences });
    const withMemory = entry.memory && !disksOnly;
    const ran = isRunning(at.record);
    if (withMemory && ran && (await revertInPlace(parts, ctx, at, entry)))
      return { entry, withMemory, ran, done: true };
    if (withMemory && !entry.asStarted) throw liveErrors.SNAPSHOT_DEVICES_GONE({ snapshot: entry.name });
    return { entry, withMemory, ran, done: false };
  });
  if (!plan.done) {
    if (plan.ran) await parts.instances.stop(ctx, id, { signal: "SIGKILL", timeoutSeconds: 10 });
    await withBook(parts, ctx, id, (at) => revertOff(parts, ctx, at, plan.entry, plan.withMemory));
    if (plan.ran || plan.withMemory) await parts.instances.start(ctx, id);
  }
  if (plan.withMemory) void setClock(parts, background(ctx.log), id);
}

/** False when its devices are not those of the snapshot. */
async function revertInPlace(parts: MachineParts, ctx: OpContext, at: Held, entry: SnapshotEntry): Promise<boolean> {
  const { record, dataDir } = at;
  using monitor = await openMonitor(parts, ctx, record);
  const { devices } = await devicesOf(ctx, monitor.qmp);
  if (devices.join("\n") !== entry.devices.join("\n")) return false;
  const nodes = keptDisks(record.name, record.spec.machine, dataDir).map(({ node }) => node);
  // What the agent was asked, the guest will not know of.
  parts.agents.at(machinePaths(parts, record.id).qga).close();
  await loadMachine(ctx, monitor.qmp, { tag: tagOf(entry), nodes, name: entry.name });
  restoreSpec(at, entry);
  await writeBook(dataDir, { ...at.book, current: entry.id });
  return true;
}

/** Of a machine that is off: disks are put back, or what its start is to go on from is noted. */
async function revertOff(
  parts: MachineParts,
  ctx: OpContext,
  at: Held,
  entry: SnapshotEntry,
  withMemory: boolean,
): Promise<void> {
  const { record, book, dataDir } = at;
  if (isRunning(record))
    throw liveErrors.MACHINE_RUNS({ machine: record.name, what: "somebody has started it meanwhile" });
  const disks = keptDisks(record.name, entry.machine, dataDir);
  await writeBook(dataDir, { ...book, reverting: entry.id });
  await applyToDisks(parts, ctx, disks, entry);
  if (withMemory) {
    const nodes = disks.map(({ node }) => node);
    await writeResumePoint(dataDir, { tag: tagOf(entry), name: entry.name, nodes, keep: true });
  }
  restoreSpec(at, entry);
  await writeBook(dataDir, { ...book, current: entry.id, reverting: "" });
}

async function applyToDisks(
  parts: MachineParts,
  ctx: OpContext,
  disks: ReturnType<typeof keptDisks>,
  entry: SnapshotEntry,
): Promise<void> {
  for (const disk of disks) await parts.disks.snapshot(ctx, disk, "apply", tagOf(entry));
}

/** Hardware and size as they were; what is in its drives stays. */
function restoreSpec({ held }: Held, { machine, resources }: SnapshotEntry): void {
  held.update((spec) => ({
    ...spec,
    machine: { ...machine, cdroms: spec.machine?.cdroms ?? machine.cdroms },
    resources: { ...spec.resources, memory: resources.memory, nanoCpus: resources.nanoCpus },
  }));
}

/** Nobody waits for it: a guest may have no agent. */
async function setClock(parts: MachineParts, ctx: OpContext, id: string): Promise<void> {
  const agent = parts.agents.at(machinePaths(parts, id).qga);
  try {
    if (await agent.isThere(ctx, clockMs)) await agent.setTime(ctx, Date.now());
  } catch (error) {
    ctx.log.debug({ machine: id, error: messageOf(error) }, "the guest's clock is late");
  }
}

/** Removes it from the disks and then from the book: begun, it is finished by whoever opens the book. */
async function takeAway(parts: MachineParts, ctx: OpContext, at: Held, entry: SnapshotEntry): Promise<void> {
  const { record, book, dataDir } = at;
  await writeBook(dataDir, replaced(book, { ...entry, state: "removing" }));
  const disks = keptDisks(record.name, record.spec.machine, dataDir);
  if (isRunning(record)) {
    using monitor = await openMonitor(parts, ctx, record);
    await deleteSnapshot(ctx, monitor.qmp, {
      tag: tagOf(entry),
      nodes: disks.map(({ node }) => node),
      name: entry.name,
    });
  } else for (const disk of disks) await parts.disks.snapshot(ctx, disk, "delete", tagOf(entry));
  await writeBook(dataDir, without(book, entry));
}

/** Of one that could not be made: what can't be removed now (QEMU has gone) is by whoever opens the book. */
async function tryTakeAway(parts: MachineParts, ctx: OpContext, at: Held, entry: SnapshotEntry): Promise<void> {
  try {
    await takeAway(parts, ctx, at, entry);
  } catch (error) {
    ctx.log.warn({ machine: at.record.id, error: messageOf(error) }, "what there is of a snapshot stays for now");
  }
}

/** Works on a machine's snapshots alone; first finishes what a killed engine has begun. */
async function withBook<T>(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  work: (at: Held) => Promise<T>,
): Promise<T> {
  const { id } = resolveMachine(parts, nameOrId);
  return await parts.instances.exclusive(ctx, id, async (held) => {
    const { record, dataDir } = held;
    if (!isMachine(record)) throw machineRoomErrors.MACHINE_NOT_FOUND({ name: nameOrId });
    const book = await mended(parts, ctx, { record, dataDir, held, book: await readBook(dataDir) });
    return await work({ record, dataDir, held, book });
  });
}

/** At the engine's start: what was being made or removed goes, what was being put back is. */
export async function mendSnapshots(parts: MachineParts, ctx: OpContext, id: string): Promise<void> {
  await withBook(parts, ctx, id, async () => {});
}

async function mended(parts: MachineParts, ctx: OpContext, at: Held): Promise<Book> {
  const { record, book, dataDir } = at;
  if (record.state.status === "paused") return book;
  for (const entry of book.snapshots) {
    if (entry.state !== "ready") await takeAway(parts, ctx, { ...at, book: await readBook(dataDir) }, entry);
  }
  const reverting = book.snapshots.find(({ id }) => id === book.reverting);
  if (reverting !== undefined && !isRunning(record)) {
    await applyToDisks(parts, ctx, keptDisks(record.name, reverting.machine, dataDir), reverting);
    restoreSpec(at, reverting);
    await writeBook(dataDir, { ...(await readBook(dataDir)), current: reverting.id, reverting: "" });
  }
  return await readBook(dataDir);
}

function requireNotSaved({ record, dataDir }: Held): void {
  if (hasResumePoint(dataDir)) throw liveErrors.MACHINE_SAVED({ machine: record.name });
}

function viewOf(entry: SnapshotEntry, current: string): MachineSnapshot {
  const { id, name, description, parent, createdAt, memory } = entry;
  return { id, name, description, parent, createdAt, memory, current: id === current };
}
