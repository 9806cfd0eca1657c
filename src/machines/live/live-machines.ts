/** What can be done to a machine that runs, and what is kept of it. Each verb is in the file of its name. */
import type { OpContext } from "../../base/op-context.ts";
import type {
  CreateSnapshotBody,
  MachineSnapshot,
  PressKeysBody,
  RevertSnapshotBody,
} from "../../schema/machine-live-api.ts";
import { isMachine, type MachineParts } from "../parts.ts";
import { discardSaved, mendRunning, saveMachine } from "./save.ts";
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
  typeKeys(ctx: OpContext, nameOrId: string, body: PressKeysBody): Promise<void>;
}

export function createLiveMachines(parts: MachineParts): LiveMachines {
  return {
    recover: async (ctx) => {
      const running = parts.instances.list().filter((record) => isMachine(record) && record.state.status === "running");
      await Promise.all(running.map(({ id }) => mendRunning(parts, ctx, id)));
    },
    createSnapshot: (ctx, nameOrId, body) => createSnapshot(parts, ctx, nameOrId, body),
    listSnapshots: (ctx, nameOrId) => listSnapshots(parts, ctx, nameOrId),
    revertToSnapshot: (ctx, nameOrId, snapshot, body) => revertToSnapshot(parts, ctx, nameOrId, snapshot, body),
    removeSnapshot: (ctx, nameOrId, snapshot) => removeSnapshot(parts, ctx, nameOrId, snapshot),
    save: (ctx, nameOrId) => saveMachine(parts, ctx, nameOrId),
    discardSaved: (ctx, nameOrId) => discardSaved(parts, ctx, nameOrId),
    screenshot: (ctx, nameOrId) => screenshot(parts, ctx, nameOrId),
    typeKeys: (ctx, nameOrId, body) => typeKeys(parts, ctx, nameOrId, body),
  };
}
