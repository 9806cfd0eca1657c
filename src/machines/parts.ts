import { join } from "node:path";
import type { VirtualDisks } from "../disks/virtual-disks.ts";
import type { Host } from "../host/host.ts";
import type { ImageService } from "../images/image-service.ts";
import { disksDir, socketsDir } from "../instances/machine/layout.ts";
import type { DiskReader } from "../instances/qemu/disk-reader.ts";
import type { InstanceManager } from "../instances/manager.ts";
import type { NetworkService } from "../network/network-service.ts";
import type { MachineImages } from "../osimages/machine-images.ts";
import type { Monitors } from "../qemu/monitors.ts";
import type { GuestAgents } from "../qemu/qga-client.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { MachineSpec } from "../schema/machine.ts";
import type { EventBus } from "../state/events.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import type { Bases } from "./bases.ts";
import { machineRoomErrors } from "./errors.ts";
import type { MigrationPeer } from "./migrate/peer.ts";

/** The other rooms, as the composition root hands them in. */
export interface MachineDependencies {
  readonly host: Host;
  readonly disks: VirtualDisks;
  readonly images: ImageService;
  /** Makes the disk of a distribution or an image that has none yet. */
  readonly machineImages: Pick<MachineImages, "ensure" | "build">;
  /** Reads what is on a disk, in a machine of its own. */
  readonly diskReader: Pick<DiskReader, "open">;
  readonly snapshotter: Snapshotter;
  readonly instances: InstanceManager;
  readonly networks: NetworkService;
  /** Shared with the driver: QEMU has one of each for a machine. */
  readonly monitors: Monitors;
  readonly agents: GuestAgents;
  readonly events: Pick<EventBus, "subscribe">;
  /** Another engine, by its address. */
  readonly peer: (address: string) => MigrationPeer;
  readonly dataRoot: string;
  readonly runRoot: string;
}

/** What every verb of this room works with. */
export interface MachineParts extends MachineDependencies {
  readonly bases: Bases;
}

export interface MachineRecord extends InstanceRecord {
  readonly spec: InstanceRecord["spec"] & { readonly machine: MachineSpec };
}

export function isMachine(record: InstanceRecord): record is MachineRecord {
  return record.spec.machine !== undefined;
}

/** By name or id. `MACHINE_NOT_FOUND`. */
export function resolveMachine(parts: Pick<MachineParts, "instances">, nameOrId: string): MachineRecord {
  const named = parts.instances.list().find(({ name }) => name === nameOrId);
  const record = named ?? parts.instances.list().find(({ id }) => nameOrId.length >= 4 && id.startsWith(nameOrId));
  if (record === undefined || !isMachine(record)) throw machineRoomErrors.MACHINE_NOT_FOUND({ name: nameOrId });
  return record;
}

/** `MACHINE_NOT_RUNNING` unless QEMU runs (paused or not). */
export function requireRunning({ name, state }: InstanceRecord): void {
  if (state.status !== "running" && state.status !== "paused") throw machineRoomErrors.MACHINE_NOT_RUNNING({ name });
}

export interface MachinePaths {
  readonly disks: string;
  readonly qmp: string;
  readonly qga: string;
  readonly vnc: string;
  /** berth-vmm's own: guest/vmm/machine.c says what it takes. */
  readonly vmm: string;
}

/** Where a machine's disks and sockets are on the host. */
export function machinePaths(
  { dataRoot, runRoot }: Pick<MachineParts, "dataRoot" | "runRoot">,
  id: string,
): MachinePaths {
  const sockets = socketsDir(join(runRoot, "instances", id));
  return {
    disks: disksDir(join(dataRoot, "instances", id)),
    qmp: join(sockets, "qmp.sock"),
    qga: join(sockets, "qga.sock"),
    vnc: join(sockets, "vnc.sock"),
    vmm: join(sockets, "vmm.sock"),
  };
}
