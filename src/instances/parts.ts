import { join } from "node:path";
import type { ConfinedRoots } from "../archive/confined-root.ts";
import type { Clock } from "../base/clock.ts";
import type { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/logger.ts";
import type { Host } from "../host/host.ts";
import type { ImageService } from "../images/image-service.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { NetworkService } from "../network/network-service.ts";
import type { EngineConfig } from "../schema/config.ts";
import type { InstanceSpec } from "../schema/instance.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import type { EventBus } from "../state/events.ts";
import type { Store } from "../state/store.ts";
import type { VolumeService } from "../volumes/volume-service.ts";
import type { BackgroundWork } from "./background-work.ts";
import type { Driver } from "./driver.ts";
import { instanceErrors } from "./errors.ts";
import type { ExecSessions } from "./exec-sessions.ts";
import type { PublishInstanceEvent } from "./instance-events.ts";
import type { RestingGuests } from "./files/resting-guests.ts";
import type { InstanceRecords } from "./instance-records.ts";
import type { LiveInstances } from "./live-instances.ts";
import type { LogRotation } from "./logs/rotation.ts";
import type { RootMounts } from "./root-mounts.ts";

/** The other rooms, as the composition root hands them in. */
export interface InstanceDependencies {
  readonly store: Store;
  readonly events: EventBus;
  readonly host: Host;
  readonly images: ImageService;
  readonly snapshotter: Snapshotter;
  readonly roots: ConfinedRoots;
  readonly networks: NetworkService;
  readonly volumes: VolumeService;
  /** Made with this room's `InstanceManager.claims`. */
  readonly ledger: Ledger;
  /** One for each isolation that this engine offers. */
  readonly drivers: readonly Driver[];
  readonly config: Pick<EngineConfig, "cgroupParent" | "dns" | "dnsSearch">;
  readonly dataRoot: string;
  readonly runRoot: string;
  /** Six hexadecimal digits that tell this engine's names on the host from another's. */
  readonly tag: string;
  readonly log: Logger;
  readonly clock?: Clock;
}

/** What every verb of this room works with; made once, by `manager.ts`. */
export interface Parts extends InstanceDependencies {
  readonly clock: Clock;
  readonly records: InstanceRecords;
  readonly lives: LiveInstances;
  readonly locks: KeyedMutex;
  readonly rootMounts: RootMounts;
  readonly resting: RestingGuests;
  readonly execs: ExecSessions;
  readonly rotation: LogRotation;
  readonly background: BackgroundWork;
  readonly publish: PublishInstanceEvent;
}

/** `NO_DRIVER` when nothing here runs instances of this isolation. */
export function driverOf(
  parts: Pick<InstanceDependencies, "drivers">,
  { isolation, machine }: Pick<InstanceSpec, "isolation" | "machine">,
): Driver {
  const hardware = machine !== undefined;
  const driver = parts.drivers.find(
    (candidate) => candidate.isolation === isolation && candidate.hardware === hardware,
  );
  if (driver === undefined) throw instanceErrors.NO_DRIVER({ isolation });
  return driver;
}

/** Durable files of an instance: its log. */
export function dataDir(parts: Pick<InstanceDependencies, "dataRoot">, id: string): string {
  return join(parts.dataRoot, "instances", id);
}

/** Files of a run: bundle, monitor; gone after a reboot. */
export function runDir(parts: Pick<InstanceDependencies, "runRoot">, id: string): string {
  return join(parts.runRoot, "instances", id);
}

export function logPath(parts: Pick<InstanceDependencies, "dataRoot">, id: string): string {
  return join(dataDir(parts, id), "container.log");
}

/** Parent of all instances' control groups: "/berth-<tag>" unless configured. */
export function cgroupParent(parts: Pick<InstanceDependencies, "config" | "tag">): string {
  const configured = parts.config.cgroupParent;
  if (configured === "") return `/berth-${parts.tag}`;
  return configured.startsWith("/") ? configured : `/${configured}`;
}

/** A root that is thrown away with its run needs no syncing. */
export function isThrowAway(spec: InstanceSpec): boolean {
  return spec.autoRemove || spec.internal;
}
