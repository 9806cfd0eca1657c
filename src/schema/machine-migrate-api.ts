/** Moving a running machine to another engine: `POST /berth/v1/machines/{id}/migrate`, and what the engines say to each other (`/berth/v1/migrations`). */
import { type Static, Type } from "typebox";
import { InstanceSpec } from "./instance.ts";
import { DeviceName } from "./machine.ts";

/** Asked of the engine that has it. */
export const MigrateMachineBody = Type.Object({
  to: Type.String({ pattern: "^unix:///", description: "Address of the other engine" }),
  name: Type.Optional(Type.String({ minLength: 1, description: "Its name there; the same by default" })),
  keep: Type.Optional(Type.Boolean({ description: "Leave it here, switched off, instead of removing it" })),
});
export type MigrateMachineBody = Static<typeof MigrateMachineBody>;

export const MigrationReport = Type.Object({
  id: Type.String({ description: "Of the machine on the other engine" }),
  name: Type.String(),
  downtimeMs: Type.Integer({ description: "How long it stood still, as this engine saw it" }),
  notes: Type.Array(Type.String(), { description: "What is not as it was" }),
});
export type MigrationReport = Static<typeof MigrationReport>;

/** What of a machine has to be there before its disks and its memory can come. */
export const MachineTransfer = Type.Object({
  spec: InstanceSpec,
  /** QEMU's that runs it, "7.2.0". */
  qemu: Type.String(),
  /** "kvm MODEL OF THE PROCESSOR" or "tcg". */
  acceleration: Type.String(),
  /** As `devicesOf` lists them. */
  devices: Type.Array(Type.String()),
  /** Whatever it writes to: QEMU's node, and its bytes. */
  disks: Type.Array(Type.Object({ node: DeviceName, size: Type.Integer({ minimum: 1 }) })),
  /** By network: what it has there, with the prefix length. */
  addresses: Type.Record(Type.String(), Type.String()),
  /** The cloud-init seed, base64, and what was asked of it. */
  seed: Type.Optional(Type.String()),
  cloudInit: Type.Optional(Type.String()),
});
export type MachineTransfer = Static<typeof MachineTransfer>;

/** The first message of the answer to a transfer: the machine waits for its disks and memory. */
export const ArrivalReady = Type.Object({ id: Type.String(), name: Type.String(), notes: Type.Array(Type.String()) });
export type ArrivalReady = Static<typeof ArrivalReady>;

export const ArrivalState = Type.Object({
  state: Type.Union([Type.Literal("waits"), Type.Literal("runs")]),
});
export type ArrivalState = Static<typeof ArrivalState>;

export const TransferChannelQuery = Type.Object({
  channel: Type.Union([Type.Literal("disks"), Type.Literal("memory")], {
    description: "disks (NBD) or memory (QEMU's migration stream)",
  }),
});
