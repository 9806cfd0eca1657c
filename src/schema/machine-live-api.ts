/** What can be done to machines that run, and what is kept of them: `/berth/v1/machines/{id}/…`. */
import { type Static, Type } from "typebox";
import { param } from "./docker/fields.ts";
import { DeviceName, DiskBus, NicModel } from "./machine.ts";

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

/** A disk to be had from now on. Paths are those of the engine's host. */
export const AttachDiskBody = Type.Object({
  name: DeviceName,
  size: Type.Optional(
    Type.Integer({ minimum: 512, description: "Bytes of a blank disk; one that was detached has its own" }),
  ),
  file: Type.Optional(Type.String({ minLength: 1, description: "Disk to copy: qcow2, raw, vmdk, vdi, vhdx" })),
  bus: Type.Optional(DiskBus),
  readOnly: Type.Optional(Type.Boolean()),
});
export type AttachDiskBody = Static<typeof AttachDiskBody>;

export const DetachDiskQuery = Type.Object({
  disk: Type.String({ minLength: 1, description: "Its name" }),
  delete: param.flag("Delete its file; else it can be attached again by its name"),
});

export const AttachNicBody = Type.Object({
  network: Type.String({ minLength: 1 }),
  name: Type.Optional(DeviceName),
  model: Type.Optional(NicModel),
  mac: Type.Optional(Type.String({ pattern: "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$" })),
  address: Type.Optional(Type.String({ description: "Fixed IPv4 address" })),
});
export type AttachNicBody = Static<typeof AttachNicBody>;

export const DetachNicQuery = Type.Object({ nic: Type.String({ minLength: 1, description: "Its name" }) });

export const MediumBody = Type.Object({
  iso: Type.Optional(Type.String({ minLength: 1, description: "ISO to put in; without one, what is in comes out" })),
  drive: Type.Optional(DeviceName),
});
export type MediumBody = Static<typeof MediumBody>;

export const BootOrderBody = Type.Object({
  order: Type.Array(DeviceName, { description: "Disks, drives and network cards, the one to try first at the head" }),
});

export const ResizeMachineBody = Type.Object({
  cpus: Type.Optional(Type.Integer({ minimum: 1, maximum: 255 })),
  memory: Type.Optional(Type.Integer({ minimum: 1024 * 1024, description: "Bytes" })),
  disks: Type.Optional(Type.Record(Type.String(), Type.Integer({ minimum: 512 }), { description: "Bytes by name" })),
});
export type ResizeMachineBody = Static<typeof ResizeMachineBody>;

/** What has come of each change. */
export const ChangeReport = Type.Object({
  changes: Type.Array(
    Type.Object({
      what: Type.String({ description: "processors, memory, disk NAME" }),
      when: Type.Union([Type.Literal("now"), Type.Literal("at the next start")]),
      note: Type.String({ description: 'What to know of it; "" for nothing' }),
    }),
  ),
});
export type ChangeReport = Static<typeof ChangeReport>;

export const CloneMachineBody = Type.Object({
  name: Type.String({ minLength: 1, description: "Name of the clone" }),
  linked: Type.Optional(
    Type.Boolean({ description: "Share what both have of the disks, read-only, until it is changed" }),
  ),
  start: Type.Optional(Type.Boolean({ description: "Switch it on as well" })),
});
export type CloneMachineBody = Static<typeof CloneMachineBody>;

export const BackUpMachineBody = Type.Object({
  directory: Type.String({ pattern: "^/", description: "On the engine's host; made where it is not there" }),
});
export type BackUpMachineBody = Static<typeof BackUpMachineBody>;

export const BackupReport = Type.Object({
  files: Type.Array(Type.String(), { description: "Whole disks (qcow2), and machine.json" }),
  consistent: Type.Boolean({ description: "The guest's file systems stood still at that moment, or it was off" }),
});
export type BackupReport = Static<typeof BackupReport>;
