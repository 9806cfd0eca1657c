/**
 * Files of instances that do not run and have their root in a guest: a machine is made in which nothing runs but who can be asked for
 * them. It is kept for a moment after its last user, ends before the instance is started or removed, and by itself when the engine dies.
 */
import { type OpContext, withSignal } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { makeSmallDirectory, rm } from "../../host/files.ts";
import type { DriverHandle, InstanceRecord, InstanceSpec } from "../../schema/instance.ts";
import { unlimited } from "../../schema/resources.ts";
import type { PrepareRequest } from "../driver.ts";
import { presentMounts, resolveMounts } from "../mounts.ts";
import { cgroupParent, dataDir, driverOf, type Parts, runDir } from "../parts.ts";
import { restingMemory } from "../qemu/machine-size.ts";
import { claimOf } from "../request.ts";

/** How long one without users is kept: a `docker cp` asks twice. */
const idleMs = 5000;
/** How long its users have before a start takes the files from them. */
export const startPatienceMs = 10_000;

/** One that is there. */
export interface RestingGuest {
  readonly handle: DriverHandle;
  /** All that was made for it. */
  readonly undo: Reverter;
  users: number;
  /** Aborted when it has a user again. */
  idle: AbortController | undefined;
  /** Resolves when it has no users. */
  free: PromiseWithResolvers<void>;
}

/** By the instances' ids. */
export type RestingGuests = Map<string, RestingGuest>;

export interface HeldGuest extends AsyncDisposable {
  readonly handle: DriverHandle;
}

/** The guest of an instance that does not run, whose lock is held; one is made where there is none. */
export async function holdRestingGuest(parts: Parts, ctx: OpContext, record: InstanceRecord): Promise<HeldGuest> {
  const guest = (await liveGuest(parts, ctx, record)) ?? (await makeGuest(parts, ctx, record));
  guest.idle?.abort(new Error("it has a user again"));
  guest.idle = undefined;
  if (guest.users++ === 0) guest.free = Promise.withResolvers();
  let isHeld = true;
  return {
    handle: guest.handle,
    [Symbol.asyncDispose]: async () => {
      if (!isHeld) return;
      isHeld = false;
      letGo(parts, record.id, guest);
    },
  };
}

/** Before the instance's files are needed elsewhere, or go. Its lock is held. Users that stay longer than this lose them. */
export async function endRestingGuest(parts: Parts, id: string, patienceMs: number): Promise<void> {
  const guest = parts.resting.get(id);
  if (guest === undefined) return;
  guest.idle?.abort(new Error("it is ended"));
  if (guest.users > 0 && patienceMs > 0) {
    const giveUp = new AbortController();
    await Promise.race([guest.free.promise, parts.clock.sleep(patienceMs, giveUp.signal).catch(() => {})]);
    giveUp.abort(new Error("no longer waited for"));
  }
  parts.resting.delete(id);
  await guest.undo[Symbol.asyncDispose]();
}

/** When the engine closes. */
export async function endRestingGuests(parts: Parts): Promise<void> {
  for (const id of parts.resting.keys()) {
    using _ = await parts.locks.acquire(id);
    await endRestingGuest(parts, id, 0);
  }
}

function letGo(parts: Parts, id: string, guest: RestingGuest): void {
  guest.users--;
  if (guest.users > 0) return;
  guest.free.resolve();
  const idle = new AbortController();
  guest.idle = idle;
  parts.background.run(`end of the idle guest of ${id}`, async () => {
    try {
      await parts.clock.sleep(idleMs, AbortSignal.any([idle.signal, parts.background.closing]));
    } catch {
      return; // It has a user, or has been ended; or the engine closes, which ends all.
    }
    using _ = await parts.locks.acquire(id);
    if (parts.resting.get(id) === guest && guest.users === 0) await endRestingGuest(parts, id, 0);
  });
}

/** Undefined when there is none, or it has ended by itself. */
async function liveGuest(parts: Parts, ctx: OpContext, record: InstanceRecord): Promise<RestingGuest | undefined> {
  const guest = parts.resting.get(record.id);
  if (guest === undefined) return undefined;
  const { status } = await driverOf(parts, record.spec).recover(ctx, guest.handle);
  if (status === "running") return guest;
  await endRestingGuest(parts, record.id, 0);
  return undefined;
}

async function makeGuest(parts: Parts, ctx: OpContext, record: InstanceRecord): Promise<RestingGuest> {
  const { id } = record;
  const undo = new Reverter(ctx);
  const live = parts.lives.of(id);
  const opening = new AbortController();
  live.opening = opening;
  try {
    const handle = await boot(
      parts,
      withSignal(ctx, opening.signal),
      { ...record, spec: restingSpec(record.spec) },
      undo,
    );
    const guest: RestingGuest = { handle, undo, users: 0, idle: undefined, free: Promise.withResolvers() };
    parts.resting.set(id, guest);
    return guest;
  } catch (error) {
    await undo[Symbol.asyncDispose]();
    throw error;
  } finally {
    live.opening = undefined;
  }
}

async function boot(parts: Parts, ctx: OpContext, record: InstanceRecord, undo: Reverter): Promise<DriverHandle> {
  const { id } = record;
  const driver = driverOf(parts, record.spec);
  const share = parts.ledger.admit(claimOf(record));
  undo.add("give its share of the machine back", () => share[Symbol.dispose]());
  const dir = runDir(parts, id);
  await makeSmallDirectory(dir, 0o700);
  undo.add("remove the run directory", () => rm(dir, { recursive: true, force: true }));
  const mounts = await resolveMounts(parts, ctx, await presentMounts(record), undefined, undo);
  const { handle } = await driver.prepare(ctx, prepareRequest(parts, record, dir, mounts));
  undo.add("end it", (ctx) => driver.destroy(ctx, handle));
  await driver.start(ctx, handle);
  return handle;
}

/** What is reserved for it, and made: nothing of the instance's own runs in it. */
function restingSpec(spec: InstanceSpec): InstanceSpec {
  return {
    ...spec,
    labels: {},
    sysctls: {},
    security: { ...spec.security, readonlyRootfs: false },
    process: { ...spec.process, tty: false, openStdin: false, stdinOnce: false },
    resources: { ...unlimited, memory: restingMemory },
  };
}

function prepareRequest(
  parts: Parts,
  { id, spec, chainId }: InstanceRecord,
  dir: string,
  mounts: PrepareRequest["mounts"],
): PrepareRequest {
  return {
    id,
    spec,
    dir,
    dataDir: dataDir(parts, id),
    chainId,
    rootfs: "",
    mounts,
    hostname: spec.hostname,
    namespaces: { network: "private", pid: "private", ipc: "private", uts: "private", cgroup: "private" },
    interfaces: [],
    endpoints: [],
    cgroupPath: `${cgroupParent(parts)}/${id}`,
    logPath: "",
    resting: true,
  };
}
