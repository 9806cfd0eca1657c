/** Named and anonymous volumes of the "local" driver. */
import type { OpContext } from "../base/op-context.ts";
import type { VolumeRecord } from "../schema/volume.ts";

export interface VolumeService {
  /**
   * At the engine's start: finishes removals, and lets go of what is held for instances that are not `live` (by id): devices are
   * unmounted. Those that live take theirs with {@link VolumeService.mount} again.
   */
  recover(ctx: OpContext, live: ReadonlySet<string>): Promise<void>;
  /** Existing with the same driver and options is returned as it is (as Docker does). `VOLUME_NAME_INVALID`, `VOLUME_CONFLICT`. */
  create(ctx: OpContext, request: CreateVolumeRequest): Promise<VolumeRecord>;
  get(name: string): VolumeRecord | undefined;
  /** `VOLUME_NOT_FOUND`. */
  require(name: string): VolumeRecord;
  list(): readonly VolumeRecord[];
  /** `VOLUME_IN_USE` (409) names the holders. */
  remove(ctx: OpContext, name: string, force: boolean): Promise<void>;
  prune(
    ctx: OpContext,
    filters: Readonly<Record<string, readonly string[]>>,
  ): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }>;
  /** Directory to bind into `instanceId`; mounts the volume's own device first when it has one. */
  mount(ctx: OpContext, name: string, instanceId: string, details?: MountDetails): Promise<string>;
  unmount(ctx: OpContext, name: string, instanceId: string): Promise<void>;
  /** Fills an empty volume from `sourceDir` (a directory of the image), with owners, modes and xattrs. Not empty: nothing. */
  copyUp(ctx: OpContext, name: string, sourceDir: string): Promise<void>;
  /** Bytes on disk of each volume, as du(1) counts. What a volume's own device holds is not ours: nothing. */
  diskUsage(ctx: OpContext, names: readonly string[]): Promise<readonly number[]>;
}

export interface CreateVolumeRequest {
  /** "" chooses a random one and marks it anonymous. */
  readonly name: string;
  /** Marks it anonymous though the caller chose the (random) name, to have it in its journal first. */
  readonly anonymous?: boolean;
  /** The instance that is being created, which alone knows of it so far. */
  readonly madeFor?: string;
  readonly driver: string;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** How the instance uses it; told to those who follow the events. */
export interface MountDetails {
  readonly destination: string;
  readonly readOnly: boolean;
  readonly propagation: string;
}

/** Ids of the instances that hold a volume. The composition root wires it. */
export type VolumeUsers = (name: string) => readonly string[];
