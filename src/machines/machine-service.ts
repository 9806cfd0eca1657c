/**
 * Whole-OS machines: instances that are made from a disk, an installer or a disk image, and the verbs that only a machine has. What every
 * instance can do (logs, exec, cp, pause, networks) is the instance room's.
 */
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { Export } from "./exchange/export.ts";
import type { ImportRequest } from "./exchange/import.ts";
import type { LiveMachines } from "./live/live-machines.ts";
import type { ImageRecord } from "../schema/image.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { MigrateMachineBody, MigrationReport } from "../schema/machine-migrate-api.ts";
import type { Arrivals } from "./migrate/receive.ts";
import type { ConvertToImageBody, ConvertToMachineBody } from "../schema/machine-convert-api.ts";
import type {
  CreateMachineBody,
  GuestAddresses,
  MachineView,
  StopMachineAnswer,
  StopMachineBody,
} from "../schema/machine-api.ts";

export interface MachineService {
  /**
   * Everything that it stands on is made before it is there; nothing is left when it fails. `MACHINE_SOURCE_UNCLEAR`, `IMAGE_NOT_FOUND`,
   * `IMAGE_HAS_NO_DISK`, `ISO_INVALID`, `ISO_NOT_BOOTABLE`, what is wrong with a disk's file, and what a creation is refused for.
   */
  create(ctx: OpContext, request: CreateMachineBody, progress: ProgressSink): Promise<InstanceRecord>;
  /** Newest first. */
  list(): readonly InstanceRecord[];
  /** By name or id. `MACHINE_NOT_FOUND`, also for an instance that is no machine. */
  resolve(nameOrId: string): InstanceRecord;
  view(record: InstanceRecord): MachineView;
  start(ctx: OpContext, nameOrId: string): Promise<{ readonly started: boolean }>;
  /** The power button, and after the timeout the plug; `GUEST_IGNORES_ACPI` where the plug is not to be pulled. */
  stop(ctx: OpContext, nameOrId: string, how: StopMachineBody): Promise<StopMachineAnswer>;
  /** As the reset button does: at once, whatever the guest is doing. `MACHINE_NOT_RUNNING`. */
  reset(ctx: OpContext, nameOrId: string): Promise<void>;
  rename(ctx: OpContext, nameOrId: string, newName: string): Promise<void>;
  /** With its disks. */
  remove(ctx: OpContext, nameOrId: string, options: { readonly force: boolean }): Promise<void>;
  /** The verbs on machines that run, and what is kept of them. */
  readonly live: LiveMachines;
  /**
   * A machine that is off as a file: "ova", or a disk in one of its formats. Read it to its end, or destroy it. `EXPORT_WHILE_RUNNING`,
   * `EXPORT_FORMAT_UNKNOWN`, `EXPORT_NO_DISK`, `DISK_NO_SPACE`.
   */
  export(ctx: OpContext, nameOrId: string, how: { readonly format: string; readonly disk?: string }): Promise<Export>;
  /**
   * A machine of an OVA archive or a disk's file. Nothing is left when it fails. What is wrong with an archive, a description (`OVF_…`,
   * `OVA_…`, `ARCHIVE_…`) or a disk (`DISK_…`), `NETWORK_NOT_FOUND`, and what a creation is refused for.
   */
  import(ctx: OpContext, request: ImportRequest, source: Readable, progress: ProgressSink): Promise<InstanceRecord>;
  /**
   * A machine that runs what a container, or a container of an image, does: with a kernel and a boot loader of its own, on a disk with
   * the container's files as they are now. Nothing is left when it fails. `CONVERT_SOURCE_UNKNOWN`, `CONVERT_ALREADY_MACHINE`, what a disk can't be made
   * of (`OS_…`), and what a creation is refused for.
   */
  convertToMachine(ctx: OpContext, request: ConvertToMachineBody, progress: ProgressSink): Promise<InstanceRecord>;
  /**
   * An image with the root file system that is on a machine's disk, or on a disk's file. A machine that runs goes on, and is read as of one
   * moment. `DISK_HAS_NO_ROOT`, `CONVERT_SOURCE_UNCLEAR`, `CONVERT_NO_DISK`, what is wrong with a disk's file.
   */
  convertToImage(ctx: OpContext, request: ConvertToImageBody, progress: ProgressSink): Promise<ImageRecord>;
  /**
   * Moves a machine that runs to another engine, without stopping it: disks and memory go through both engines' APIs. Until the other one has
   * all of it, it runs here, whatever fails, and when `ctx` is aborted. `MIGRATION_REFUSED`, `MIGRATION_HAS_SNAPSHOTS`, and what the other
   * engine refuses; `MIGRATION_UNCERTAIN` when that one is lost in the last moment.
   */
  migrate(
    ctx: OpContext,
    nameOrId: string,
    request: MigrateMachineBody,
    progress: ProgressSink,
  ): Promise<MigrationReport>;
  /** The other side of it. */
  readonly arrivals: Pick<Arrivals, "receive" | "connect" | "finish" | "state" | "cancel">;
  /** As the agent in the guest says; as the networks assign them where it does not answer. */
  addresses(ctx: OpContext, nameOrId: string): Promise<GuestAddresses>;
}
