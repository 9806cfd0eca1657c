import { isBerthError, messageOf } from "../base/errors.ts";
import { background, type OpContext } from "../base/op-context.ts";
import { rm } from "../host/files.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import { anonymousVolumes } from "./anonymous-volumes.ts";
import { instanceErrors } from "./errors.ts";
import { endRestingGuest } from "./files/resting-guests.ts";
import type { Durability } from "./instance-records.ts";
import type { WaitResult } from "./instance-service.ts";
import { beginOperation } from "./open-operations.ts";
import { dataDir, isThrowAway, type Parts, runDir } from "./parts.ts";
import { isActive, resolveInstance } from "./resolve.ts";
import { breakOffStart, killAndWait } from "./stop.ts";

/** Restarts that a forced removal outlives before it gives up. */
const maxKills = 5;

export interface RemovalOptions {
  /** Its anonymous volumes, too. */
  readonly volumes: boolean;
  /** Whether it may be over before the files are gone. */
  readonly filesLater?: boolean;
}

/** See {@link InstanceService.remove}. */
export async function removeInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  options: RemovalOptions & { readonly force: boolean },
): Promise<void> {
  const { id, name } = resolveInstance(parts.records, nameOrId);
  // A removal that has begun is finished, whether or not the client stays to hear of it.
  const own = background(ctx.log);
  for (let kills = 0; kills < maxKills; kills++) {
    const present = parts.records.get(id);
    if (present === undefined) return;
    if (isActive(present)) {
      if (!options.force) throw instanceErrors.REMOVE_RUNNING({ name: nameOrId, status: present.state.status });
      await killAndWait(parts, own, id);
    }
    if (options.force) await breakOffStart(parts, present, "removed");
    parts.lives.of(id).opening?.abort(instanceErrors.MARKED_FOR_REMOVAL({}));
    if (present.state.status === "removing") throw instanceErrors.REMOVAL_IN_PROGRESS({ name: nameOrId });
    using _ = await parts.locks.acquire(id);
    const stopped = parts.records.get(id);
    if (stopped === undefined) return;
    if (isActive(stopped)) continue;
    await removeStopped(parts, own, stopped, { ...options, volumes: options.volumes || stopped.spec.autoRemove });
    return;
  }
  throw instanceErrors.REMOVE_FAILED({ name, reason: "it is started again whenever it is killed" });
}

/**
 * Removes a stopped instance, whose lock is held. Where nothing but its own files is to go, the record goes first, and recovery collects
 * what no record owns. Else the status "removing" is on disk before the first effect, so that recovery finishes what a killed engine
 * began; a failure then leaves it "dead", and another removal tries again.
 */
export async function removeStopped(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  options: RemovalOptions,
): Promise<void> {
  const { id, spec, state } = record;
  await endRestingGuest(parts, id, 0);
  const durability = { durable: !isThrowAway(spec) };
  const withVolumes = options.volumes && anonymousVolumes(spec).length > 0;
  if (options.filesLater === true && !withVolumes) {
    forgetInstance(parts, record, { exitCode: state.exitCode, error: "" }, { durable: false });
    parts.background.run(`remove the files of ${id}`, () => removeFiles(parts, ctx, record));
    if (durability.durable) await parts.store.flush();
    return;
  }
  using _operation = parts.store.transaction(() => {
    parts.records.setState(id, { status: "removing" }, durability);
    return withVolumes ? beginOperation(parts, "instance.remove", id) : undefined;
  }, durability);
  try {
    await removeFiles(parts, ctx, record);
    if (options.volumes) await removeAnonymousVolumes(parts, ctx, record);
    forgetInstance(parts, record, { exitCode: state.exitCode, error: "" }, durability);
  } catch (error) {
    const reason = messageOf(error);
    parts.records.setState(id, { status: "dead", error: reason });
    throw instanceErrors.REMOVE_FAILED({ name: record.name, reason }, { cause: error });
  }
}

/** The last act: record and name go, and whoever waited for that hears of it. */
export function forgetInstance(parts: Parts, record: InstanceRecord, result: WaitResult, durability: Durability): void {
  const live = parts.lives.of(record.id);
  parts.records.delete(record.id, durability);
  parts.publish(record, "destroy");
  live.waits.removed(result);
  for (const session of live.waitingSessions) session.end();
  parts.execs.forgetInstance(record.id);
  parts.lives.forget(record.id);
}

/** The writable layer, the log and the run's files; and the layers below, when the image was removed by force before. */
export async function removeFiles(parts: Parts, ctx: OpContext, record: InstanceRecord): Promise<void> {
  const { id } = record;
  await parts.rootMounts.discard(ctx, id);
  // A build step has no image: its build looks after the layers.
  if (record.imageId !== "") await parts.images.release(ctx, record);
  await rm(runDir(parts, id), { recursive: true, force: true });
  await rm(dataDir(parts, id), { recursive: true, force: true });
}

/** Those that another instance uses as well stay. */
export async function removeAnonymousVolumes(parts: Parts, ctx: OpContext, record: InstanceRecord): Promise<void> {
  for (const name of anonymousVolumes(record.spec)) {
    try {
      await parts.volumes.remove(ctx, name, true);
    } catch (error) {
      if (!isBerthError(error, "VOLUME_IN_USE", "VOLUME_NOT_FOUND")) throw error;
    }
  }
}
