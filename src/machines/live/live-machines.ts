/** What can be done to a machine that runs, and what is kept of it. Each verb is in the file of its name. */
import type { OpContext } from "../../base/op-context.ts";
import type { InstanceRecord } from "../../schema/instance.ts";
import type { MachineNic } from "../../schema/machine.ts";
import type {
  AttachDiskBody,
  AttachNicBody,
  BackupReport,
  ChangeReport,
  CloneMachineBody,
  CreateSnapshotBody,
  MachineSnapshot,
  MediumBody,
  PressKeysBody,
  ResizeMachineBody,
  RevertSnapshotBody,
} from "../../schema/machine-live-api.ts";
import { isMachine, type MachineParts } from "../parts.ts";
import { backUpMachine } from "./back-up.ts";
import { cloneMachine } from "./clone.ts";
import { attachDisk, detachDisk } from "./disks.ts";
import { changeMedium, setBootOrder } from "./media.ts";
import { mendMachine } from "./mend.ts";
import { attachNic, detachNic } from "./nics.ts";
import { resizeMachine } from "./resize.ts";
import { discardSaved, saveMachine } from "./save.ts";
import { screenshot, typeKeys } from "./screen.ts";
import { createSnapshot, listSnapshots, removeSnapshot, revertToSnapshot } from "./snapshots.ts";

export interface LiveMachines {
  /** To be called once, when the instances have been recovered: lets go on what a killed engine has stopped. */
  recover(ctx: OpContext): Promise<void>;
  createSnapshot(ctx: OpContext, nameOrId: string, body: CreateSnapshotBody): Promise<MachineSnapshot>;
  /** The oldest first. */
  listSnapshots(ctx: OpContext, nameOrId: string): Promise<readonly MachineSnapshot[]>;
  revertToSnapshot(ctx: OpContext, nameOrId: string, snapshot: string, body: RevertSnapshotBody): Promise<void>;
  removeSnapshot(ctx: OpContext, nameOrId: string, snapshot: string): Promise<void>;
  /** Off, with its memory kept: the next start goes on where it is. */
  save(ctx: OpContext, nameOrId: string): Promise<void>;
  discardSaved(ctx: OpContext, nameOrId: string): Promise<void>;
  /** PNG. */
  screenshot(ctx: OpContext, nameOrId: string): Promise<Buffer>;
  /** A blank disk, a copy of a file, or one that was detached; at once where it runs. */
  attachDisk(ctx: OpContext, nameOrId: string, body: AttachDiskBody): Promise<void>;
  /** Its file stays unless it is to be deleted. `GUEST_KEEPS_DEVICE`. */
  detachDisk(ctx: OpContext, nameOrId: string, disk: string, options: { readonly delete: boolean }): Promise<void>;
  attachNic(ctx: OpContext, nameOrId: string, body: AttachNicBody): Promise<MachineNic>;
  detachNic(ctx: OpContext, nameOrId: string, nic: string): Promise<void>;
  /** Puts an ISO into a drive, or takes out what is in it. */
  changeMedium(ctx: OpContext, nameOrId: string, body: MediumBody): Promise<void>;
  setBootOrder(ctx: OpContext, nameOrId: string, order: readonly string[]): Promise<void>;
  /** Says of each change whether it is made now or at the next start. */
  resize(ctx: OpContext, nameOrId: string, body: ResizeMachineBody): Promise<ChangeReport>;
  clone(ctx: OpContext, nameOrId: string, body: CloneMachineBody): Promise<InstanceRecord>;
  /** Whole disks of one moment into a directory of the host's. */
  backUp(ctx: OpContext, nameOrId: string, directory: string): Promise<BackupReport>;
  typeKeys(ctx: OpContext, nameOrId: string, body: PressKeysBody): Promise<void>;
}

export function createLiveMachines(parts: MachineParts): LiveMachines {
  return {
    recover: async (ctx) => {
      await Promise.all(
        parts.instances
          .list()
          .filter(isMachine)
          .map(({ id }) => mendMachine(parts, ctx, id)),
      );
    },
    createSnapshot: (ctx, nameOrId, body) => createSnapshot(parts, ctx, nameOrId, body),
    listSnapshots: (ctx, nameOrId) => listSnapshots(parts, ctx, nameOrId),
    revertToSnapshot: (ctx, nameOrId, snapshot, body) => revertToSnapshot(parts, ctx, nameOrId, snapshot, body),
    removeSnapshot: (ctx, nameOrId, snapshot) => removeSnapshot(parts, ctx, nameOrId, snapshot),
    save: (ctx, nameOrId) => saveMachine(parts, ctx, nameOrId),
    discardSaved: (ctx, nameOrId) => discardSaved(parts, ctx, nameOrId),
    screenshot: (ctx, nameOrId) => screenshot(parts, ctx, nameOrId),
    attachDisk: (ctx, nameOrId, body) => attachDisk(parts, ctx, nameOrId, body),
    detachDisk: (ctx, nameOrId, disk, options) => detachDisk(parts, ctx, nameOrId, disk, options),
    attachNic: (ctx, nameOrId, body) => attachNic(parts, ctx, nameOrId, body),
    detachNic: (ctx, nameOrId, nic) => detachNic(parts, ctx, nameOrId, nic),
    changeMedium: (ctx, nameOrId, body) => changeMedium(parts, ctx, nameOrId, body),
    setBootOrder: (ctx, nameOrId, order) => setBootOrder(parts, ctx, nameOrId, order),
    resize: (ctx, nameOrId, body) => resizeMachine(parts, ctx, nameOrId, body),
    clone: (ctx, nameOrId, body) => cloneMachine(parts, ctx, nameOrId, body),
    backUp: (ctx, nameOrId, directory) => backUpMachine(parts, ctx, nameOrId, directory),
    typeKeys: (ctx, nameOrId, body) => typeKeys(parts, ctx, nameOrId, body),
  };
}
