/**
 * The {@link VolumeService} of the "local" driver: `<dataRoot>/volumes/<name>/_data`, a directory of ours or the place where the
 * volume's own device is mounted while it is used.
 *
 * INVARIANTS
 *  - A volume's record goes before its files: what is left of a killed removal has a name that no volume can have.
 *  - Who uses a mounted device is in the store, so that it is unmounted by the last one, also after an engine's restart.
 */
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import type { ConfinedRoots } from "../archive/confined-root.ts";
import { messageOf } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/logger.ts";
import type { OpContext } from "../base/op-context.ts";
import type { Host } from "../host/host.ts";
import { VolumeRecord } from "../schema/volume.ts";
import type { EventBus } from "../state/events.ts";
import type { Collection, Store } from "../state/store.ts";
import { copyUp } from "./copy-up.ts";
import { volumeErrors } from "./errors.ts";
import { checkLocalOptions, deviceMount, hasDevice } from "./local-options.ts";
import { treeSize } from "./tree-size.ts";
import { isPrunable, type VolumeFilters } from "./volume-filters.ts";
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

class LocalVolumes implements VolumeService {
  readonly #options: VolumeServiceOptions;
  readonly #root: string;
  readonly #volumes: Collection<VolumeRecord>;
  readonly #holders: Collection<VolumeHolders>;
  readonly #locks = new KeyedMutex();
  #swept: Promise<void> | undefined;

  constructor(options: VolumeServiceOptions) {
    this.#options = options;
    this.#root = join(options.dataRoot, "volumes");
    this.#volumes = options.store.collection<VolumeRecord>("volumes", VolumeRecord);
    this.#holders = options.store.collection<VolumeHolders>("volumeHolders", VolumeHolders);
  }

  async create(_ctx: OpContext, request: CreateVolumeRequest): Promise<VolumeRecord> {
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
      return existing;
    }
    checkLocalOptions(name, request.options);
    const mountpoint = join(this.#root, name, "_data");
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
    };
    this.#options.store.transaction(() => this.#volumes.put(name, volume));
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
    for (const volume of this.#volumes.list().filter((volume) => isPrunable(volume, filters))) {
      using _held = await this.#locks.acquire(volume.name);
      if (this.#volumes.get(volume.name) === undefined || this.#options.users(volume.name).length > 0) continue;
      const bytes = hasDevice(volume) ? 0 : await treeSize(volume.mountpoint);
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
    const draft = hasDevice(volume) || held ? "" : join(this.#root, name, "_draft");
    await this.#mountDevice(ctx, volume);
    try {
      await copyUp(ctx, this.#options.roots, { source: sourceDir, target: volume.mountpoint, draft });
    } finally {
      if (!held) await this.#unmountDevice(ctx, volume);
    }
  }

  async usage(name: string): Promise<number> {
    return treeSize(this.require(name).mountpoint);
  }

  async #remove(ctx: OpContext, volume: VolumeRecord): Promise<void> {
    const { name } = volume;
    // Never through a mount: a device's files are not ours to delete.
    await this.#unmountDevice(ctx, volume);
    const removed = join(this.#root, `${removedPrefix}${name}-${anonymousName().slice(0, 8)}`);
    this.#options.store.transaction(() => {
      this.#volumes.delete(name);
      this.#holders.delete(name);
    });
    await ignoringMissing(rename(join(this.#root, name), removed));
    this.#announce("destroy", name, {});
    await rm(removed, { recursive: true, force: true });
    await (this.#swept ??= this.#sweep());
  }

  /** Once in an engine's life: what a killed one had not finished to delete. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(this.#root)) {
      if (!name.startsWith(removedPrefix)) continue;
      try {
        await rm(join(this.#root, name), { recursive: true, force: true });
      } catch (error) {
        this.#options.log.warn({ path: name, error: messageOf(error) }, "cannot delete what is left of a volume");
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

async function ignoringMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}
