/** Whole-OS machines in Berth's own API: `/berth/v1/machines`. */
import { type Static, Type } from "typebox";
import { CloudInit } from "./cloud-init.ts";
import { InstanceStatus } from "./instance.ts";
import { DiskBus, MachineFirmware, MachineOs, MachineSpec, NicModel } from "./machine.ts";
import { PortSpec, PublishedPort } from "./network.ts";
import { param } from "./docker/fields.ts";

const Size = (description: string) => Type.Optional(Type.Integer({ minimum: 1, description }));

/** A network card as it is asked for. */
export const MachineNicRequest = Type.Object({
  network: Type.String({ minLength: 1, description: "Network that it is on" }),
  model: Type.Optional(NicModel),
  mac: Type.Optional(Type.String({ description: "MAC address; a random one that stays when it is left out" })),
  address: Type.Optional(Type.String({ description: "Fixed IPv4 address" })),
});
export type MachineNicRequest = Static<typeof MachineNicRequest>;

/** `POST /berth/v1/machines`. Paths are those of the engine's host. */
export const CreateMachineBody = Type.Object({
  name: Type.String({ description: 'Name; "" lets the engine choose' }),
  image: Type.Optional(Type.String({ minLength: 1, description: "Image with a disk in it: machine/NAME or NAME" })),
  iso: Type.Optional(Type.String({ minLength: 1, description: "ISO to boot from, such as an installer" })),
  diskFile: Type.Optional(Type.String({ minLength: 1, description: "Disk to copy: qcow2, raw, vmdk, vdi, vhdx" })),
  disk: Size("Bytes of its disk"),
  diskBus: Type.Optional(DiskBus),
  cpus: Type.Optional(Type.Integer({ minimum: 1, maximum: 255, description: "Processors" })),
  memory: Size("Bytes of memory"),
  os: Type.Optional(MachineOs),
  firmware: Type.Optional(MachineFirmware),
  tpm: Type.Optional(Type.Boolean({ description: "A TPM 2.0" })),
  vga: Type.Optional(MachineSpec.properties.vga),
  nics: Type.Optional(Type.Array(MachineNicRequest, { description: 'Network cards; one on "bridge" when left out' })),
  ports: Type.Optional(Type.Array(PortSpec, { description: "Ports to publish" })),
  cloudInit: Type.Optional(CloudInit),
  labels: Type.Optional(Type.Record(Type.String(), Type.String())),
  restart: Type.Optional(
    Type.Union([
      Type.Literal("no"),
      Type.Literal("always"),
      Type.Literal("unless-stopped"),
      Type.Literal("on-failure"),
    ]),
  ),
  start: Type.Optional(Type.Boolean({ description: "Start it as well; when that fails it is not made" })),
});
export type CreateMachineBody = Static<typeof CreateMachineBody>;

export const MachineNicView = Type.Object({
  name: Type.String(),
  network: Type.String(),
  model: NicModel,
  mac: Type.String(),
  address: Type.String({ description: 'With its prefix length; "" while it does not run' }),
});
export type MachineNicView = Static<typeof MachineNicView>;

/** A machine as the API shows it. */
export const MachineView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  status: InstanceStatus,
  createdAt: Type.String(),
  startedAt: Type.String({ description: '"" for never' }),
  finishedAt: Type.String(),
  exitCode: Type.Integer({ description: "0 after the guest's own power-off" }),
  error: Type.String({ description: "Why its last start failed" }),
  source: Type.String({ description: "Image, ISO or disk that it was made from" }),
  cpus: Type.Integer(),
  memory: Type.Integer({ description: "Bytes" }),
  hardware: MachineSpec,
  nics: Type.Array(MachineNicView),
  ports: Type.Array(PublishedPort),
  labels: Type.Record(Type.String(), Type.String()),
  disksDirectory: Type.String({ description: "Where its disks are on the engine's host" }),
  vncSocket: Type.String({ description: 'Unix socket of its screen; "" while it does not run' }),
});
export type MachineView = Static<typeof MachineView>;

export const MachineList = Type.Object({ machines: Type.Array(MachineView) });

export const StopMachineBody = Type.Object({
  timeout: Type.Optional(Type.Integer({ minimum: 0, description: "Seconds that the guest has to power off" })),
  force: Type.Optional(Type.Boolean({ description: "Pull the plug at once" })),
  orFail: Type.Optional(Type.Boolean({ description: "Fail when the time is over, instead of pulling the plug" })),
});
export type StopMachineBody = Static<typeof StopMachineBody>;

export const StopMachineAnswer = Type.Object({
  how: Type.Union([Type.Literal("was off"), Type.Literal("powered off"), Type.Literal("forced")]),
});
export type StopMachineAnswer = Static<typeof StopMachineAnswer>;

export const RemoveMachineQuery = Type.Object({ force: param.flag("Pull the plug first when it runs") });
export const RenameMachineBody = Type.Object({ name: Type.String({ minLength: 1, description: "New name" }) });

export const GuestAddresses = Type.Object({
  interfaces: Type.Array(
    Type.Object({
      name: Type.String(),
      mac: Type.String(),
      addresses: Type.Array(Type.String()),
      source: Type.Union([Type.Literal("agent"), Type.Literal("network")], {
        description: "Who says so: the agent in the guest, or the network that assigns it",
      }),
    }),
  ),
});
export type GuestAddresses = Static<typeof GuestAddresses>;
