import type { EndpointSpec } from "../schema/network.ts";
import { systemClock } from "../base/clock.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import { background, type OpContext } from "../base/op-context.ts";
import type { Claim } from "../ledger/account.ts";
import { attachInstance, resizeInstance } from "./attach.ts";
import { BackgroundWork } from "./background-work.ts";
import { commitInstance } from "./commit.ts";
import { createInstance } from "./create.ts";
import { ExecSessions } from "./exec-sessions.ts";
import { holdInstance } from "./exclusive.ts";
import { copyFromInstance, copyToInstance, exportInstance, statInstancePath } from "./files/copy.ts";
import { openInside, refuseInside } from "./files/inside.ts";
import { endRestingGuests } from "./files/resting-guests.ts";
import { InstanceRecords } from "./instance-records.ts";
import { instanceEventPublisher } from "./instance-events.ts";
import type { HeldInstance, InstanceService } from "./instance-service.ts";
import { restartInstance, startInstance } from "./lifecycle.ts";
import { LiveInstances } from "./live-instances.ts";
import { instanceLogs } from "./logs/instance-logs.ts";
import { LogRotation } from "./logs/rotation.ts";
import { measureInstances } from "./disk-usage.ts";
import { connectInstance, disconnectInstance } from "./networking.ts";
import { publishPorts, unpublishPorts } from "./publishing.ts";
import { cgroupParent, driverOf, type InstanceDependencies, isThrowAway, logPath, type Parts } from "./parts.ts";
import { pauseInstance, resumeInstance } from "./pause.ts";
import { pruneInstances } from "./prune.ts";
import { recoverInstances } from "./recover.ts";
import { removeInstance } from "./remove.ts";
import { renameInstance } from "./rename.ts";
import { heldBy } from "./request.ts";
import { resolveInstance } from "./resolve.ts";
import { RootMounts } from "./root-mounts.ts";
import { makeRootSkeleton } from "./root-skeleton.ts";
import { killInstance, stopInstance } from "./stop.ts";
import { instanceProcesses } from "./top.ts";
import { unlinkInstance } from "./unlink.ts";
import { updateInstance } from "./update.ts";
import { instanceUsage } from "./usage.ts";
import { usageLines } from "./usage-lines.ts";
import { waitInstance } from "./wait.ts";

export type { InstanceDependencies } from "./parts.ts";

export interface InstanceManager extends InstanceService {
  /** As {@link InstanceService.connect}, also of a whole-OS machine that runs: the caller plugs in the card. */
  connectCard(ctx: OpContext, id: string, network: string, endpoint: EndpointSpec): Promise<void>;
  /** The caller has taken out the card. */
  disconnectCard(ctx: OpContext, id: string, network: string): Promise<void>;
  /**
   * Runs `work` with the instance's lock held: for what changes its specification or its files. It must not wait for the instance to end,
   * whose record needs the lock.
   */
  exclusive<T>(ctx: OpContext, nameOrId: string, work: (held: HeldInstance) => Promise<T>): Promise<T>;
  /** To be called once, before any verb: see `recover.ts`. Recovers the networks too, which need to know what runs. */
  recover(ctx: OpContext): Promise<void>;
  /** Whether one is being started. */
  isStarting(): boolean;
  /** What each instance reserves of the machine now, build steps included: for the ledger. */
  claims(): readonly Claim[];
  /** Resolves when nothing is being cleaned up or restarted in the background. */
  settled(): Promise<void>;
  /** Stops following instances, which run on. When there are none, takes the engine's control group away. */
  close(): Promise<void>;
}

/** The face of this room: each verb is in the file of its name. */
export function createInstanceService(dependencies: InstanceDependencies): InstanceManager {
  const parts = assemble(dependencies);
  const resolve = (nameOrId: string) => resolveInstance(parts.records, nameOrId);
  const service: InstanceManager = {
    recover: (ctx) => recoverInstances(parts, ctx),
    settled: () => parts.background.settled(),
    close: async () => {
      parts.rotation.close();
      for (const { opening } of parts.lives.all()) opening?.abort(new Error("the engine is closing"));
      await endRestingGuests(parts);
      await parts.background.close();
      await removeIdleCgroup(parts);
    },

    create: (ctx, request) => createInstance(parts, ctx, request),
    exclusive: (ctx, nameOrId, work) => holdInstance(parts, ctx, nameOrId, work),
    resolve,
    list: () => parts.records.newestFirst(),
    start: (ctx, nameOrId) => startInstance(parts, ctx, nameOrId),
    stop: (ctx, nameOrId, options) => stopInstance(parts, ctx, nameOrId, options),
    restart: (ctx, nameOrId, options) => restartInstance(parts, ctx, nameOrId, options),
    kill: (ctx, nameOrId, signal) => killInstance(parts, ctx, nameOrId, signal),
    pause: (ctx, nameOrId) => pauseInstance(parts, ctx, nameOrId),
    resume: (ctx, nameOrId) => resumeInstance(parts, ctx, nameOrId),
    rename: (ctx, nameOrId, newName) => renameInstance(parts, ctx, nameOrId, newName),
    remove: (ctx, nameOrId, options) => removeInstance(parts, ctx, nameOrId, options),
    prune: (ctx, filters) => pruneInstances(parts, ctx, filters),
    wait: async (ctx, nameOrId, condition) => waitInstance(parts, ctx, nameOrId, condition),
    logs: (ctx, nameOrId, options) => instanceLogs(parts, ctx, nameOrId, options),
    attach: (ctx, nameOrId, options) => attachInstance(parts, ctx, nameOrId, options),
    resize: (ctx, nameOrId, size) => resizeInstance(parts, ctx, nameOrId, size),

    execCreate: async (_ctx, nameOrId, request) => parts.execs.create(nameOrId, request),
    execStart: (ctx, execId, options) => parts.execs.start(ctx, execId, options),
    execResize: (_ctx, execId, size) => parts.execs.resize(execId, size),
    execInspect: (execId) => parts.execs.inspect(execId),
    execIds: (nameOrId) => parts.execs.of(resolve(nameOrId).id),

    statPath: (ctx, nameOrId, path) => statInstancePath(parts, ctx, nameOrId, path),
    copyFrom: (ctx, nameOrId, path) => copyFromInstance(parts, ctx, nameOrId, path),
    copyTo: (ctx, nameOrId, directory, tar, options) => copyToInstance(parts, ctx, nameOrId, directory, tar, options),
    export: (ctx, nameOrId) => exportInstance(parts, ctx, nameOrId),
    changes: async (ctx, nameOrId) => {
      const record = resolve(nameOrId);
      await using inside = await openInside(parts, ctx, record, "list the changes of");
      if (inside !== undefined) return await inside.driver.changes(ctx, inside.handle);
      return await parts.snapshotter.changes(ctx, record.id);
    },
    commit: (ctx, nameOrId, request) => commitInstance(parts, ctx, nameOrId, request),
    update: (ctx, nameOrId, changes) => updateInstance(parts, ctx, nameOrId, changes),

    processes: (ctx, nameOrId, psArguments) => instanceProcesses(parts, ctx, nameOrId, psArguments),
    usage: (ctx, nameOrId) => instanceUsage(parts, ctx, nameOrId),
    size: async (ctx, nameOrId) => {
      const record = resolve(nameOrId);
      const { id, imageId } = record;
      const isInside = driverOf(parts, record.spec).inside !== undefined;
      // A disk in the instance's directory, beside its log.
      const measured = isInside ? await measureInstances(parts, ctx, [record]) : undefined;
      const rw = measured?.get(id) ?? (await parts.snapshotter.usage(ctx, id));
      const image = parts.images.list({ intermediate: true }).find((candidate) => candidate.id === imageId);
      return { rw, rootFs: rw + (image?.size ?? 0) };
    },
    diskUsage: (ctx) => measureInstances(parts, ctx, service.list()),
    usageLines: (ctx, names) => usageLines(parts, ctx, names),
    logPath: (nameOrId) => {
      const { id, spec } = resolve(nameOrId);
      return spec.log.driver === "none" ? "" : logPath(parts, id);
    },

    connect: (ctx, nameOrId, network, endpoint) => connectInstance(parts, ctx, nameOrId, network, endpoint),
    unlink: (ctx, nameOrId, alias) => unlinkInstance(parts, ctx, nameOrId, alias),
    disconnect: (ctx, nameOrId, network, force) => disconnectInstance(parts, ctx, nameOrId, network, force),
    publish: (ctx, nameOrId, ports) => publishPorts(parts, ctx, nameOrId, ports),
    unpublish: (ctx, nameOrId, choice) => unpublishPorts(parts, ctx, nameOrId, choice),
    connectCard: (ctx, id, network, endpoint) => connectInstance(parts, ctx, id, network, endpoint, { card: true }),
    disconnectCard: (ctx, id, network) => disconnectInstance(parts, ctx, id, network, false, { card: true }),

    withRootfs: async (ctx, nameOrId, work) => {
      const record = resolve(nameOrId);
      refuseInside(parts, record, "mount the root of");
      const { id, spec } = record;
      return await parts.rootMounts.with(ctx, id, { volatile: isThrowAway(spec) }, work);
    },
    isStarting: () => parts.lives.all().some(({ starting }) => starting !== undefined),
    claims: () => parts.records.all().flatMap((record) => heldBy(record) ?? []),
    volumeUsers: (name) => parts.records.volumeUsers(name),
    imageUsers: (imageId) =>
      parts.records
        .all()
        .filter((record) => record.imageId === imageId)
        .map(({ id, state }) => ({ instanceId: id, running: state.status === "running" || state.status === "paused" })),
  };
  return service;
}

/** An engine without instances leaves no control group behind. */
async function removeIdleCgroup(parts: Parts): Promise<void> {
  const parent = cgroupParent(parts);
  const children = await parts.host.cgroups.children(parent);
  if (children.length === 0) await parts.host.cgroups.remove(background(parts.log), parent);
}

function assemble(dependencies: InstanceDependencies): Parts {
  const { store, events, snapshotter, log } = dependencies;
  const clock = dependencies.clock ?? systemClock;
  const records = new InstanceRecords(store);
  const publish = instanceEventPublisher(events);
  const work = new BackgroundWork(log);
  return {
    ...dependencies,
    clock,
    records,
    publish,
    background: work,
    lives: new LiveInstances(),
    locks: new KeyedMutex(),
    resting: new Map(),
    rootMounts: new RootMounts(snapshotter, makeRootSkeleton(dependencies.dataRoot), async (ctx, id) => {
      const { imageId } = records.require(id);
      const image = dependencies.images.list({ intermediate: true }).find((candidate) => candidate.id === imageId);
      if (image !== undefined) await dependencies.images.unpack(ctx, image);
    }),
    rotation: new LogRotation({ ...dependencies, records }),
    execs: new ExecSessions({ ...dependencies, clock, records, publish, background: work }),
  };
}
