/** What can be done to machines that run, and what is kept of them: `/berth/v1/machines/{id}/…`. */
import { type Static, Type } from "typebox";

/** Of a snapshot, and of what is attached later. */
export const ThingName = Type.String({ pattern: "^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$" });

export const CreateSnapshotBody = Type.Object({
  name: Type.Optional(ThingName),
  description: Type.Optional(Type.String({ maxLength: 1024 })),
  memory: Type.Optional(
    Type.Boolean({ description: "With memory and devices, to go on from there; the default for a machine that runs" }),
  ),
});
export type CreateSnapshotBody = Static<typeof CreateSnapshotBody>;

export const MachineSnapshot = Type.Object({
  id: Type.String(),
  name: Type.String(),
  description: Type.String(),
  parent: Type.String({ description: 'Id of the snapshot that it came of; "" for none' }),
  createdAt: Type.String(),
  memory: Type.Boolean({ description: "With memory; else disks alone" }),
  current: Type.Boolean({ description: "The machine came of it last" }),
});
export type MachineSnapshot = Static<typeof MachineSnapshot>;

export const SnapshotList = Type.Object({ snapshots: Type.Array(MachineSnapshot) });

export const RevertSnapshotBody = Type.Object({
  disksOnly: Type.Optional(Type.Boolean({ description: "Put back the disks, and boot from them" })),
});
export type RevertSnapshotBody = Static<typeof RevertSnapshotBody>;

export const SaveMachineBody = Type.Object({
  discard: Type.Optional(Type.Boolean({ description: "Give up what was saved: the next start boots" })),
});
export type SaveMachineBody = Static<typeof SaveMachineBody>;

export const PressKeysBody = Type.Object({
  keys: Type.Optional(Type.Array(Type.String(), { description: 'Keys by QEMU\'s names: "ret", "ctrl-alt-delete"' })),
  text: Type.Optional(Type.String({ maxLength: 4096, description: "Typed on a US keyboard, before the keys" })),
});
export type PressKeysBody = Static<typeof PressKeysBody>;
