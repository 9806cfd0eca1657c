/**
 * Start-up is recovery: what runs is found again and followed, what ended meanwhile is recorded with its exit code, what was
 * half made or half removed is undone or finished, and what no record owns is collected. Safe to be cut off and run again.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isBerthError, messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import { rm } from "../host/files.ts";
import type { SandboxRecord } from "../network/network-service.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import { createJournalKind, removeOwnVolume } from "./create.ts";
import type { Recovered, TaskExit } from "./driver.ts";
import { finishRestart, planStart, recordMissedExit, resumeRun, startAsPlanned } from "./lifecycle.ts";
import { leaveNetwork } from "./networking.ts";
import {
  endInterruptedConnections,
  endInterruptedPortChanges,
  endInterruptedRemovals,
  endInterruptedRestarts,
  endOperations,
  finishOperations,
  type InterruptedRestart,
  interruptedConnections,
  interruptedPortChanges,
  interruptedRemovals,
  interruptedRestarts,
  runOf,
} from "./open-operations.ts";
import { cgroupParent, driverOf, isThrowAway, type Parts } from "./parts.ts";
import { takePortsOfNetwork } from "./publishing.ts";
import { isActive } from "./resolve.ts";
import { removeStopped } from "./remove.ts";
import { restartDelay } from "./restart-policy.ts";
import { lostExit } from "./start.ts";
import { joinedInstance } from "./validate/namespaces.ts";

/** Instances looked at side by side. */
const concurrency = 16;

interface Found {
  readonly record: InstanceRecord;
  readonly fate: Fate;
}

type Fate =
  | { readonly kind: "runs" }
  | { readonly kind: "ended"; readonly exit: TaskExit }
  /** It was not running when the last engine ended, or its start was never acknowledged. */
  | { readonly kind: "rests" }
  /** The engine's own, or half removed: to go. */
  | { readonly kind: "goes" };

export async function recoverInstances(parts: Parts, ctx: OpContext): Promise<void> {
  await undoHalfMade(parts, ctx);
  const restarting = interruptedRestarts(parts);
  const withVolumes = interruptedRemovals(parts);
  const connections = interruptedConnections(parts);
  const found = await inParallel(parts.records.all(), async (record): Promise<Found> => {
    return { record, fate: await fateOf(parts, ctx, record) };
  });
  endOperations(parts);
  const running = found.filter(({ fate }) => fate.kind === "runs").map(({ record }) => record);
  // One that has ended lets go of its volumes when that is recorded.
  const holding = new Set(found.filter(({ fate }) => fate.kind !== "rests").map(({ record }) => record.id));
  await tryTo(ctx, "volumes", "recover", () => parts.volumes.recover(ctx, holding));
  await recoverNetworks(parts, ctx, running);
  for (const { id } of running) {
    const network = connections.get(id);
    if (network !== undefined) await tryTo(ctx, id, "leave a network", () => leaveNetwork(parts, ctx, id, network));
  }
  endInterruptedConnections(parts, new Set(connections.keys()));
  const portChanges = interruptedPortChanges(parts);
  for (const { id } of running) if (portChanges.has(id)) takePortsOfNetwork(parts, id);
  endInterruptedPortChanges(parts, portChanges);
  await inParallel(running, (record) => takeUp(parts, ctx, record.id));
  await collectOrphans(parts, ctx, new Set(running.map(({ id }) => id)));
  for (const { record, fate } of found) {
    if (fate.kind === "ended") await recordMissedExit(parts, ctx, record.id, fate.exit);
    if (fate.kind === "goes")
      await tryTo(ctx, record.id, "remove", () => finishRemoval(parts, ctx, record, withVolumes));
  }
  endInterruptedRemovals(parts, withVolumes);
  await settleResting(parts, ctx, found, restarting);
}

/** Volumes of a create that never came to its record. */
async function undoHalfMade(parts: Parts, ctx: OpContext): Promise<void> {
  for (const entry of parts.store.journal.open()) {
    if (entry.kind !== createJournalKind) continue;
    const { volumes } = entry.details;
    const names = parts.records.get(entry.subject) === undefined && Array.isArray(volumes) ? volumes : [];
    for (const name of names) {
      if (typeof name !== "string") continue;
      await tryTo(ctx, entry.subject, `remove the volume ${name}`, () =>
        removeOwnVolume(parts, ctx, entry.subject, name),
      );
    }
    entry.end();
  }
}

async function fateOf(parts: Parts, ctx: OpContext, record: InstanceRecord): Promise<Fate> {
  const { spec, state } = record;
  if (spec.internal || state.status === "removing") return { kind: "goes" };
  if (state.handle === null) {
    // Told to be active, yet with no handle: only a torn record looks like that. A planned restart has none by nature.
    if (isActive(record) && state.status !== "restarting") return { kind: "ended", exit: lostExit(parts) };
    return { kind: "rests" };
  }
  const recovered = await askDriver(parts, ctx, record);
  switch (recovered.status) {
    case "running":
    case "paused":
      return acknowledge(parts, record, await finishOperations(parts, ctx, record, recovered));
    case "exited":
      return { kind: "ended", exit: recovered.exit };
    case "lost":
      return isActive(record) ? { kind: "ended", exit: lostExit(parts) } : forgetHandle(parts, record);
    case "prepared":
      await driverOf(parts, spec).destroy(ctx, state.handle);
      return forgetHandle(parts, record);
  }
}

async function askDriver(parts: Parts, ctx: OpContext, record: InstanceRecord): Promise<Recovered> {
  const { handle } = record.state;
  if (handle === null) return { status: "lost" };
  try {
    return await driverOf(parts, record.spec).recover(ctx, handle);
  } catch (error) {
    ctx.log.error({ instance: record.id, error: messageOf(error) }, "its driver can't say what became of it");
    return { status: "lost" };
  }
}

/** It runs. The engine may have been killed between its start and the record of that, or while it was being paused. */
function acknowledge(
  parts: Parts,
  { id, state }: InstanceRecord,
  recovered: Extract<Recovered, { status: "running" | "paused" }>,
): Fate {
  const startedAt = isRunStart(state) ? state.startedAt : new Date(parts.clock.now()).toISOString();
  parts.records.setState(
    id,
    { status: recovered.status, pid: recovered.pid, startedAt, error: "" },
    { durable: false },
  );
  return { kind: "runs" };
}

/** Whether `startedAt` is of this run, not of one that ended before it. */
function isRunStart({ status, startedAt }: InstanceRecord["state"]): boolean {
  return startedAt !== "" && (status === "running" || status === "paused");
}

function forgetHandle(parts: Parts, { id, state }: InstanceRecord): Fate {
  const status = isActive(parts.records.require(id)) ? "exited" : state.status;
  parts.records.setState(id, { handle: null, pid: 0, status }, { durable: false });
  return { kind: "rests" };
}

async function recoverNetworks(parts: Parts, ctx: OpContext, running: readonly InstanceRecord[]): Promise<void> {
  const live = running.flatMap(({ id }): readonly SandboxRecord[] => {
    const sandbox = parts.networks.sandbox(id);
    return sandbox === undefined ? [] : [sandbox];
  });
  await parts.networks.recover(ctx, live);
}

/** Holds again what a run holds, and follows it. */
async function takeUp(parts: Parts, ctx: OpContext, id: string): Promise<void> {
  const record = parts.records.require(id);
  if (driverOf(parts, record.spec).inside === undefined) {
    await tryTo(ctx, id, "find its root", async () => {
      await parts.rootMounts.hold(ctx, id, { volatile: isThrowAway(record.spec) });
    });
  }
  for (const mount of record.spec.mounts) {
    if (mount.type !== "volume") continue;
    await tryTo(ctx, id, `find its volume ${mount.name}`, async () => {
      await parts.volumes.mount(ctx, mount.name, id);
    });
  }
  const sandbox = parts.networks.sandbox(id);
  if (sandbox !== undefined) {
    // Renamed in DNS, but not yet in its record.
    if (sandbox.instanceName !== record.name) {
      await tryTo(ctx, id, "give it its name", () => parts.networks.rename(ctx, id, record.name));
    }
    const network = { endpoints: [...sandbox.endpoints], ports: [...sandbox.ports] };
    parts.records.setState(id, network, { durable: false });
  }
  resumeRun(parts, parts.records.require(id));
}

/** What a killed engine left that belongs to no instance, or to the run of one that has none now. */
async function collectOrphans(parts: Parts, ctx: OpContext, running: ReadonlySet<string>): Promise<void> {
  const known = new Set(parts.records.all().map(({ id }) => id));
  const ended = new Set(parts.records.all().flatMap(({ id, state }) => (state.handle === null ? [] : [id])));
  const keep = new Set([...running, ...ended, ...companions(parts, ctx)]);
  for (const driver of parts.drivers) {
    await tryTo(ctx, driver.name, "collect", async () => void (await driver.collect(ctx, keep)));
  }
  for (const id of await parts.snapshotter.list()) {
    if (!known.has(id)) await tryTo(ctx, id, "remove the snapshot", () => parts.snapshotter.remove(ctx, id));
    else if (!keep.has(id)) await tryTo(ctx, id, "unmount", () => parts.snapshotter.unmount(ctx, id));
  }
  await tryTo(ctx, "control groups", "collect", async () => {
    const parent = cgroupParent(parts);
    for (const name of await parts.host.cgroups.children(parent)) {
      if (/^[0-9a-f]{64}$/.test(name) && !keep.has(name)) await parts.host.cgroups.remove(ctx, `${parent}/${name}`);
    }
  });
  await removeUnknownDirs(parts, ctx, join(parts.dataRoot, "instances"), known);
  await removeUnknownDirs(parts, ctx, join(parts.runRoot, "instances"), keep);
}

function companions(parts: Parts, ctx: OpContext): readonly string[] {
  return parts.records.all().flatMap(({ id, spec, state: { handle } }) => {
    try {
      return handle === null ? [] : (driverOf(parts, spec).companions?.(handle) ?? []);
    } catch (error) {
      ctx.log.error({ instance: id, error: messageOf(error) }, "its driver can't say what belongs to it");
      return [];
    }
  });
}

async function removeUnknownDirs(
  parts: Parts,
  ctx: OpContext,
  parent: string,
  keep: ReadonlySet<string>,
): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    if (keep.has(name)) continue;
    const dir = join(parent, name);
    await tryTo(ctx, name, "remove its directory", async () => {
      // An shm of a shared IPC namespace, say: to remove through a mount would be to remove what is mounted.
      const mounts = await parts.host.kernel.mounts(dir);
      await parts.host.kernel.apply(
        ctx,
        mounts.toReversed().map(({ target }) => ({ op: "unmount", target, detach: true })),
      );
      await rm(dir, { recursive: true, force: true });
    });
  }
}

async function finishRemoval(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  withVolumes: ReadonlySet<string>,
): Promise<void> {
  const { handle } = record.state;
  if (handle !== null) await driverOf(parts, record.spec).destroy(ctx, handle);
  for (const mount of record.spec.mounts) {
    if (mount.type === "volume") await parts.volumes.unmount(ctx, mount.name, record.id);
  }
  await removeStopped(parts, ctx, record, { volumes: isThrowAway(record.spec) || withVolumes.has(record.id) });
}

/** `--rm` instances that no engine will end any more go; those whose policy says so are started, dependants last. */
async function settleResting(
  parts: Parts,
  ctx: OpContext,
  found: readonly Found[],
  restarting: ReadonlyMap<string, InterruptedRestart>,
): Promise<void> {
  const wanted: PlannedStart[] = [];
  const unfinished: (readonly [id: string, InterruptedRestart])[] = [];
  const want = (record: InstanceRecord) => wanted.push({ record, planned: planStart(parts, record.id) });
  for (const { record: before, fate } of found) {
    const record = parts.records.get(before.id);
    if (record === undefined || fate.kind === "goes") continue;
    const restart = restarting.get(record.id);
    if (fate.kind === "runs") {
      if (restart !== undefined && restart.run === runOf(record)) unfinished.push([record.id, restart]);
      continue;
    }
    // One whose end was recorded just now may be waiting for its policy's restart, which does as well.
    const isPlanned = fate.kind === "ended" && isActive(record);
    if (restart !== undefined && !isPlanned) {
      want(record);
      continue;
    }
    if (fate.kind !== "rests") continue;
    if (record.spec.autoRemove) {
      await tryTo(ctx, record.id, "remove", () => removeStopped(parts, ctx, record, { volumes: true }));
    } else if (isWantedAtStart(record)) {
      want(record);
    } else if (record.state.status === "restarting") {
      parts.records.setState(record.id, { status: "exited" }, { durable: false });
    }
  }
  const ids = new Set(restarting.keys());
  if (wanted.length === 0 && unfinished.length === 0) return endInterruptedRestarts(parts, ids);
  parts.background.run("start what is to run", async () => {
    const joins = ({ record: { spec } }: PlannedStart) => joinedInstance(spec.network.mode) !== undefined;
    const finished = inParallel(unfinished, ([id, { options }]) => finishRestart(parts, id, options));
    await startAll(
      parts,
      ctx,
      wanted.filter((start) => !joins(start)),
    );
    await startAll(parts, ctx, wanted.filter(joins));
    await finished;
    if (!parts.background.closing.aborted) endInterruptedRestarts(parts, ids);
  });
}

interface PlannedStart {
  readonly record: InstanceRecord;
  readonly planned: AbortController;
}

/** Docker's rule for the start of the daemon: `always` comes back even when it was stopped by hand. */
function isWantedAtStart({ spec, state }: InstanceRecord): boolean {
  if (state.startedAt === "") return false;
  const run = {
    exitCode: state.exitCode,
    unhealthy: state.health?.status === "unhealthy",
    ranMs: 0,
    exitIsFinal: false,
    manuallyStopped: state.manuallyStopped,
    restartCount: state.restartCount,
    lastDelayMs: 0,
  };
  return restartDelay(spec.restartPolicy, run) !== undefined;
}

async function startAll(parts: Parts, ctx: OpContext, starts: readonly PlannedStart[]): Promise<void> {
  await inParallel(starts, async ({ record: { id }, planned }) => {
    if (parts.background.closing.aborted) return;
    await tryTo(ctx, id, "start", () => startAsPlanned(parts, id, planned));
  });
}

/** One thing that can't be mended must not keep the engine from starting. */
async function tryTo(ctx: OpContext, subject: string, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (isBerthError(error, "VOLUME_IN_USE")) return;
    ctx.log.error({ subject, what, error: messageOf(error) }, "recovery could not do this");
  }
}

async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker));
  return results;
}
