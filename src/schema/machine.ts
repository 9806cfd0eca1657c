/**
 * The hardware of a whole-OS machine: what QEMU is told, and nothing of it twice. Processors and memory are the instance's resources,
 * addresses and ports its network's. Files are names in the machine's own directory of disks.
 */
import { type Static, Type } from "typebox";

/** Of a disk, a CD drive or a network card: also its serial number, and the id that QEMU knows it by. */
export const DeviceName = Type.String({ pattern: "^[a-z][a-z0-9-]{0,19}$" });

/** Which hardware an operating system finds drivers for by itself, and how it takes the clock. */
export const MachineOs = Type.Union([Type.Literal("linux"), Type.Literal("windows"), Type.Literal("other")]);
export type MachineOs = Static<typeof MachineOs>;

export const MachineFirmware = Type.Union([Type.Literal("bios"), Type.Literal("uefi")]);
export type MachineFirmware = Static<typeof MachineFirmware>;

export const DiskBus = Type.Union([Type.Literal("virtio"), Type.Literal("scsi"), Type.Literal("sata")]);
export type DiskBus = Static<typeof DiskBus>;

export const NicModel = Type.Union([
  Type.Literal("virtio"),
  Type.Literal("e1000e"),
  Type.Literal("e1000"),
  Type.Literal("rtl8139"),
]);
export type NicModel = Static<typeof NicModel>;

export const MachineDisk = Type.Object({
  name: DeviceName,
  bus: DiskBus,
  size: Type.Integer({ minimum: 1, description: "Bytes that the guest sees" }),
  file: Type.String({ description: "Its file among the machine's disks" }),
  format: Type.Union([Type.Literal("qcow2"), Type.Literal("raw")]),
  base: Type.String({ description: 'Read-only disk below it, shared between machines; "" for none' }),
  readOnly: Type.Boolean(),
});
export type MachineDisk = Static<typeof MachineDisk>;

export const MachineCdrom = Type.Object({
  name: DeviceName,
  bus: Type.Union([Type.Literal("scsi"), Type.Literal("sata")]),
  file: Type.String({ description: 'Its ISO among the machine\'s disks; "" for an empty drive' }),
  source: Type.String({ description: 'Where the ISO came from; "" for an empty drive' }),
});
export type MachineCdrom = Static<typeof MachineCdrom>;

/** A card on one of the instance's networks. Its MAC is that of the endpoint, which keeps it. */
export const MachineNic = Type.Object({
  name: DeviceName,
  network: Type.String({ description: "One of the instance's networks" }),
  model: NicModel,
});
export type MachineNic = Static<typeof MachineNic>;

/** What makes an instance a whole-OS machine. */
export const MachineSpec = Type.Object({
  os: MachineOs,
  firmware: MachineFirmware,
  tpm: Type.Boolean({ description: "A TPM 2.0, by swtpm" }),
  uuid: Type.String({ description: "As the firmware tells it; guests make their machine id of it" }),
  maxCpus: Type.Integer({ minimum: 1, description: "Up to which processors can be plugged in while it runs" }),
  maxMemory: Type.Integer({ minimum: 1, description: "Bytes, up to which memory can be plugged in while it runs" }),
  disks: Type.Array(MachineDisk),
  cdroms: Type.Array(MachineCdrom),
  nics: Type.Array(MachineNic),
  boot: Type.Array(DeviceName, { description: "Disks, CD drives and network cards, the one to try first at the head" }),
  cloudInit: Type.Boolean({ description: "A NoCloud seed is attached as a read-only disk" }),
  vga: Type.Union([Type.Literal("std"), Type.Literal("virtio"), Type.Literal("none")], {
    description: "Its screen, which VNC and screenshots show",
  }),
});
export type MachineSpec = Static<typeof MachineSpec>;
