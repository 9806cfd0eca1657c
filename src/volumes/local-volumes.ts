/**
 * The {@link VolumeService} of the "local" driver: `<dataRoot>/volumes/<name>/_data`, a directory of ours or the place where the
 * volume's own device is mounted while it is used.
 *
 * INVARIANTS
 *  - A volume's record goes before its files, and in the same transaction the journal learns where they are to go: recovery
 *    finishes that, and a new volume of the same name never finds the files of the old one.
 *  - Who uses a mounted device is in the store, so that it is unmounted by the last one, also after an engine's restart.
 */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import type { ConfinedRoots } from "../archive/confined-root.ts";
import { messageOf } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/logger.ts";
import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import { mkdir, rename, rm, rmdir } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import { VolumeRecord } from "../schema/volume.ts";
import type { EventBus } from "../state/events.ts";
import type { Collection, Store } from "../state/store.ts";
import { copyUp } from "./copy-up.ts";
import { volumeErrors } from "./errors.ts";
import { checkLocalOptions, deviceMount, hasDevice } from "./local-options.ts";
import { prunable, type VolumeFilters } from "./volume-filters.ts";
import { anonymousName, checkVolumeName } from "./volume-name.ts";
import type { CreateVolumeRequest, MountDetails, VolumeService, VolumeUsers } from "./volume-service.ts";

export interface VolumeServiceOptions {
  readonly store: Store;
  readonly host: Host;
  readonly roots: ConfinedRoots;
  readonly events: EventBus;
  readonly dataRoot: string;
  readonly users: VolumeUsers;
  readonly log: Logger;
}

export function createVolumeService(options: VolumeServiceOptions): VolumeService {
  return new LocalVolumes(options);
}

/** Instances that have a volume mounted now. */
const VolumeHolders = Type.Object({ name: Type.String(), instanceIds: Type.Array(Type.String()) });
type VolumeHolders = Static<typeof VolumeHolders>;

/** Begins with a dot, which no volume's name does. */
const removedPrefix = ".removed-";
const removeJournalKind = "volume.remove";
/** Beside `_data`: what it is being filled from. */
const draftName = "_draft";

class LocalVolumes implements VolumeService {
  readonly #options: VolumeServiceOptions;
  readonly #root: string;
  readonly #volumes: Collection<VolumeRecord>;
  readonly #holders: Collection<VolumeHolders>;
  readonly #locks = new KeyedMutex();

  constructor(options: VolumeServiceOptions) {
    this.#options = options;
    this.#root = join(options.dataRoot, "volumes");
    this.#volumes = options.store.collection<VolumeRecord>("volumes", VolumeRecord);
    this.#holders = options.store.collection<VolumeHolders>("volumeHolders", VolumeHolders);
  }

  async recover(ctx: OpContext, live: ReadonlySet<string>): Promise<void> {
    for (const entry of this.#options.store.journal.open()) {
      if (entry.kind !== removeJournalKind) continue;
      const name = entry.subject;
      if (this.#volumes.get(name) === undefined) await this.#moveAway(name);
      entry.end();
    }
    for (const volume of this.#volumes.list()) {
      const holders = this.#holdersOf(volume.name).filter((id) => live.has(id));
      if (holders.length === 0) await this.#unmountDevice(ctx, volume);
      if (holders.length < this.#holdersOf(volume.name).length) this.#setHolders(volume.name, holders);
    }
    await this.#sweep();
  }

  async create(ctx: OpContext, request: CreateVolumeRequest): Promise<VolumeRecord> {
    const anonymous = request.name === "" || request.anonymous === true;
    const name = request.name === "" ? anonymousName() : request.name;
    checkVolumeName(name);
    if (request.driver !== "" && request.driver !== "local") {
      throw volumeErrors.VOLUME_DRIVER_UNKNOWN({ name, driver: request.driver });
    }
    using _held = await this.#locks.acquire(name);
    const existing = this.#volumes.get(name);
    if (existing !== undefined) {
      // Asked for without options, it is whatever it is: that is how a container names a volume that was made by hand.
      const asked = Object.entries(request.options);
      const same = asked.length === Object.keys(existing.options).length;
      if (asked.length > 0 && !(same && asked.every(([option, value]) => existing.options[option] === value))) {
        throw volumeErrors.VOLUME_CONFLICT({ name });
      }
      return existing.madeFor === request.madeFor ? existing : this.#shared(existing);
    }
    checkLocalOptions(name, request.options);
    const mountpoint = join(this.#root, name, "_data");
    await using reverter = new Reverter(ctx);
    reverter.add("directories", () => removeIfEmpty(join(this.#root, name)));
    await mkdir(this.#root, { recursive: true, mode: 0o711 });
    await mkdir(mountpoint, { recursive: true, mode: 0o755 });
    const volume: VolumeRecord = {
      name,
      driver: "local",
      mountpoint,
      labels: { ...request.labels },
      options: { ...request.options },
      createdAt: new Date().toISOString(),
      anonymous,
      ...(request.madeFor === undefined ? {} : { madeFor: request.madeFor }),
    };
    this.#options.store.transaction(() => this.#volumes.put(name, volume));
    reverter.commit();
    this.#announce("create", name, {});
    return volume;
  }

  get(name: string): VolumeRecord | undefined {
    return this.#volumes.get(name);
  }

  require(name: string): VolumeRecord {
    const volume = this.#volumes.get(name);
    if (volume === undefined) throw volumeErrors.VOLUME_NOT_FOUND({ name });
    return volume;
  }

  list(): readonly VolumeRecord[] {
    return this.#volumes.list();
  }

  async remove(ctx: OpContext, name: string, force: boolean): Promise<void> {
    using _held = await this.#locks.acquire(name);
    if (force && this.#volumes.get(name) === undefined) return;
    const volume = this.require(name);
    const users = this.#options.users(name);
    if (users.length > 0) throw volumeErrors.VOLUME_IN_USE({ name, users });
    await this.#remove(ctx, volume);
  }

  async prune(
    ctx: OpContext,
    filters: VolumeFilters,
  ): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }> {
    const deleted: string[] = [];
    let reclaimedBytes = 0;
    for (const volume of this.#volumes.list().filter(prunable(filters))) {
      using _held = await this.#locks.acquire(volume.name);
      if (this.#volumes.get(volume.name) === undefined || this.#options.users(volume.name).length > 0) continue;
      const [bytes = 0] = await this.diskUsage(ctx, [volume.name]);
      await this.#remove(ctx, volume);
      deleted.push(volume.name);
      reclaimedBytes += bytes;
    }
    const attributes = { reclaimed: String(reclaimedBytes) };
    this.#options.events.publish({ type: "volume", action: "prune", actorId: "", attributes });
    return { deleted, reclaimedBytes };
  }

  async mount(ctx: OpContext, name: string, instanceId: string, details?: MountDetails): Promise<string> {
    using _held = await this.#locks.acquire(name);
    const volume = this.require(name);
    await this.#mountDevice(ctx, volume);
    this.#setHolders(name, [...this.#holdersOf(name).filter((id) => id !== instanceId), instanceId]);
    this.#announce("mount", name, {
      container: instanceId,
      destination: details?.destination ?? "",
      propagation: details?.propagation ?? "",
      "read/write": String(details?.readOnly !== true),
    });
    return volume.mountpoint;
  }

  async unmount(ctx: OpContext, name: string, instanceId: string): Promise<void> {
    using _held = await this.#locks.acquire(name);
    const holders = this.#holdersOf(name);
    if (!holders.includes(instanceId)) return;
    const rest = holders.filter((id) => id !== instanceId);
    const volume = this.#volumes.get(name);
    if (volume !== undefined && rest.length === 0) await this.#unmountDevice(ctx, volume);
    this.#setHolders(name, rest);
    this.#announce("unmount", name, { container: instanceId });
  }

  async copyUp(ctx: OpContext, name: string, sourceDir: string): Promise<void> {
    using _held = await this.#locks.acquire(name);
    const volume = this.require(name);
    const held = this.#holdersOf(name).length > 0;
    const draft = hasDevice(volume) || held ? "" : join(this.#root, name, draftName);
    await this.#mountDevice(ctx, volume);
    try {
      await copyUp(ctx, this.#options.roots, { source: sourceDir, target: volume.mountpoint, draft });
    } finally {
      if (!held) await this.#unmountDevice(ctx, volume);
    }
  }

  async diskUsage(ctx: OpContext, names: readonly string[]): Promise<readonly number[]> {
    const volumes = names.map((name) => this.#volumes.get(name));
    const ours = volumes.flatMap((volume) => (volume === undefined || hasDevice(volume) ? [] : [volume.name]));
    if (ours.length === 0) return names.map(() => 0);
    await using root = await this.#options.roots.open(ctx, this.#root);
    const sizes = new Map((await root.diskUsage(ctx, ours)).map((size, index) => [ours[index], size]));
    return names.map((name) => sizes.get(name) ?? 0);
  }

  /** It has a second user from now on: no failed creation of the first takes it away. */
  #shared(volume: VolumeRecord): VolumeRecord {
    const { madeFor: _madeFor, ...shared } = volume;
    this.#options.store.transaction(() => this.#volumes.put(volume.name, shared));
    return shared;
  }

  async #remove(ctx: OpContext, volume: VolumeRecord): Promise<void> {
    const { name } = volume;
    // Never through a mount: a device's files are not ours to delete.
    await this.#unmountDevice(ctx, volume);
    const { store, log } = this.#options;
    const entry = store.transaction(() => {
      this.#volumes.delete(name);
      this.#holders.delete(name);
      return store.journal.begin(removeJournalKind, name, {});
    });
    await using reverter = new Reverter(ctx);
    // Or the next volume of this name would find these files.
    reverter.add("keep the volume", () =>
      store.transaction(() => {
        this.#volumes.put(name, volume);
        entry.end();
      }),
    );
    const removed = await this.#moveAway(name);
    reverter.commit();
    try {
      store.transaction(() => entry.end(), { durable: false });
      this.#announce("destroy", name, {});
      await rm(removed, { recursive: true, force: true });
    } catch (error) {
      log.warn({ volume: name, error: messageOf(error) }, "a removed volume's files go with the next start");
    }
  }

  /** Out of sight, in one step, under a name that the next start deletes. */
  async #moveAway(name: string): Promise<string> {
    const removed = join(this.#root, `${removedPrefix}${name}-${anonymousName().slice(0, 8)}`);
    await ignoringMissing(rename(join(this.#root, name), removed));
    return removed;
  }

  /** What a killed engine had not finished to delete, to fill or to make; never anything with a user's files in it. */
  async #sweep(): Promise<void> {
    for (const name of existsSync(this.#root) ? await readdir(this.#root) : []) {
      const path = join(this.#root, name);
      try {
        if (name.startsWith(removedPrefix)) await rm(path, { recursive: true, force: true });
        else if (this.#volumes.get(name) !== undefined)
          await rm(join(path, draftName), { recursive: true, force: true });
        else await removeIfEmpty(path);
      } catch (error) {
        this.#options.log.warn({ path, error: messageOf(error) }, "cannot delete what is left of a volume");
      }
    }
  }

  async #mountDevice(ctx: OpContext, volume: VolumeRecord): Promise<void> {
    if (!hasDevice(volume) || (await this.#isMounted(volume))) return;
    const mount = deviceMount(volume);
    try {
      await this.#options.host.kernel.apply(ctx, [mount]);
    } catch (error) {
      const { name, mountpoint: target } = volume;
      const source = mount.op === "mount" ? mount.source : "";
      throw volumeErrors.VOLUME_MOUNT_FAILED({ name, source, target, reason: messageOf(error) }, { cause: error });
    }
  }

  async #unmountDevice(ctx: OpContext, volume: VolumeRecord): Promise<void> {
    if (!hasDevice(volume)) return;
    await this.#options.host.kernel.apply(ctx, [{ op: "unmount", target: volume.mountpoint }]);
  }

  async #isMounted(volume: VolumeRecord): Promise<boolean> {
    const mounts = await this.#options.host.kernel.mounts(volume.mountpoint);
    return mounts.some((mount) => mount.target === volume.mountpoint);
  }

  #holdersOf(name: string): readonly string[] {
    return this.#holders.get(name)?.instanceIds ?? [];
  }

  #setHolders(name: string, instanceIds: readonly string[]): void {
    // Mounts don't survive a power cut either: no need to wait for the disk.
    this.#options.store.transaction(
      () => {
        if (instanceIds.length === 0) this.#holders.delete(name);
        else this.#holders.put(name, { name, instanceIds: [...instanceIds] });
      },
      { durable: false },
    );
  }

  #announce(action: string, name: string, attributes: Readonly<Record<string, string>>): void {
    const all = { ...attributes, driver: "local" };
    this.#options.events.publish({ type: "volume", action, actorId: name, attributes: all });
  }
}

/** A volume that came to no record: its `_data` is still empty. */
async function removeIfEmpty(path: string): Promise<void> {
  try {
    await ignoringMissing(rmdir(join(path, "_data")));
    await ignoringMissing(rmdir(path));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOTEMPTY")) throw error;
  }
}

async function ignoringMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}
