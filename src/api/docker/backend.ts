/** What the API needs of the engine. The rooms below implement most of it; the composition root the rest. */
import type { OpContext } from "../../base/op-context.ts";
import type { BuildService } from "../../build/build-service.ts";
import type { BuildKit } from "../../buildkit/buildkit.ts";
import type { ImageService, RegistryAuth } from "../../images/image-service.ts";
import type { DriverFingerprint } from "../../instances/driver.ts";
import type { InstanceService } from "../../instances/instance-service.ts";
import type { MachineService } from "../../machines/machine-service.ts";
import type { MachineImages } from "../../osimages/machine-images.ts";
import type { NetworkService } from "../../network/network-service.ts";
import type { CapacityReport } from "../../schema/capacity.ts";
import type { EngineConfig } from "../../schema/config.ts";
import type { Descriptor, Platform } from "../../schema/image.ts";
import type { InstanceRecord } from "../../schema/instance.ts";
import type { EventBus } from "../../state/events.ts";
import type { VolumeService } from "../../volumes/volume-service.ts";

export interface DockerBackend {
  readonly images: ImageService;
  readonly instances: InstanceService;
  /** Whole-OS machines, which are instances, too. */
  readonly machines: MachineService;
  readonly networks: NetworkService;
  readonly volumes: VolumeService;
  readonly builder: BuildService;
  /** BuildKit's API in front of `builder`; loaded by the first call. */
  buildKit(): Promise<BuildKit>;
  readonly machineImages: Pick<MachineImages, "build" | "fromDisk">;
  readonly events: EventBus;
  readonly registry: RegistryBackend;
  readonly system: SystemBackend;
}

/** Questions to a registry that store nothing. */
export interface RegistryBackend {
  /** Tries the credentials (`docker login`); an identity token when the registry gives one. 401 when they are wrong. */
  login(ctx: OpContext, auth: RegistryAuth): Promise<{ readonly identityToken?: string }>;
  /** What a reference names in its registry (`docker manifest`, Swarm's pinning). */
  inspect(
    ctx: OpContext,
    reference: string,
    auth?: RegistryAuth,
  ): Promise<{ readonly descriptor: Descriptor; readonly platforms: readonly Platform[] }>;
}

/** The engine and the machine as a whole. */
export interface SystemBackend {
  /** Cheap and fixed while the engine runs: asked for by many requests. */
  readonly facts: SystemFacts;
  /** What can change, for `docker info`. */
  info(ctx: OpContext): Promise<SystemInfo>;
  /** Where an instance's files are, for `inspect`. */
  pathsOf(record: InstanceRecord): InstancePaths;
  /** Total CPU time of the machine and its online CPUs, for `docker stats`. */
  cpuClock(): Promise<CpuClock>;
  /** Who reserves how much of this machine: `GET /berth/v1/capacity`. */
  capacity(ctx: OpContext, options: { readonly verbose: boolean }): Promise<CapacityReport>;
  /** What Docker's `info` has no place for: `GET /berth/info`. */
  engineInfo(ctx: OpContext): Promise<EngineInfo>;
  /** What machines are started from, and can be made again. */
  readonly machineTemplates: MachineTemplates;
}

export interface MachineTemplates {
  list(): readonly MachineTemplate[];
  /** Removes them all, and says which. */
  prune(): Promise<readonly MachineTemplate[]>;
}

export interface MachineTemplate {
  readonly key: string;
  /** Hexadecimal digits of the image's topmost layer. */
  readonly image: string;
  readonly bytes: number;
  readonly usedMs: number;
}

export interface EngineInfo {
  /** Six hexadecimal digits that are in the name of everything the engine makes on the host. */
  readonly tag: string;
  readonly paths: { readonly dataRoot: string; readonly runRoot: string };
  readonly runtime: DriverFingerprint;
  /** Virtual machines: `runtime` is "kvm", or "tcg" for emulation, whose reason is said. */
  readonly machines: DriverFingerprint;
  /** Machines that wait, restored and paused: how many of each template in use, and how many in all now. */
  readonly machinePool: { readonly size: number; readonly waiting: number };
  /** "v1", "hybrid" or "v2". */
  readonly cgroupMode: string;
  readonly config: EngineConfig;
}

export interface SystemFacts {
  /** Stable id of this engine (of its data root). */
  readonly id: string;
  /** Version of Berth. */
  readonly version: string;
  /** "unknown" outside a checkout. */
  readonly gitCommit: string;
  /** ISO 8601; "" when unknown. */
  readonly buildTime: string;
  readonly kernelRelease: string;
  /** "amd64", "arm64". */
  readonly architecture: string;
  /** "x86_64", "aarch64". */
  readonly machine: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Name of the OCI runtime in use, "crun" or "runc": what `HostConfig.Runtime` may say. */
  readonly runtime: string;
  /** Further parts by name, e.g. runc, conmon: shown by `docker version`. */
  readonly components: Readonly<Record<string, string>>;
  /** Of the driver of root file systems, "overlay2". */
  readonly storageDriver: string;
  /** 1 or 2; decides the default of `--cgroupns`. */
  readonly cgroupVersion: 1 | 2;
}

export interface SystemInfo {
  readonly hostname: string;
  readonly operatingSystem: string;
  readonly dataRoot: string;
  readonly debug: boolean;
  readonly storageStatus: readonly (readonly [string, string])[];
  /** "name=seccomp,profile=builtin". */
  readonly securityOptions: readonly string[];
  readonly ipv4Forwarding: boolean;
  readonly limits: SupportedLimits;
  readonly registryMirrors: readonly string[];
  /** CIDRs and host names. */
  readonly insecureRegistries: readonly string[];
  readonly addressPools: readonly { readonly base: string; readonly size: number }[];
  readonly firewall: string;
  readonly warnings: readonly string[];
  readonly httpProxy: string;
  readonly httpsProxy: string;
  readonly noProxy: string;
  /** Open descriptors of the engine. */
  readonly openFiles: number;
}

/** Which limits this kernel and control group mode can enforce. */
export interface SupportedLimits {
  readonly memory: boolean;
  readonly swap: boolean;
  readonly oomKillDisable: boolean;
  readonly cpuCfs: boolean;
  readonly cpuShares: boolean;
  readonly cpuset: boolean;
  readonly pids: boolean;
  readonly blkio: boolean;
}

export interface InstancePaths {
  /** "" when it writes no log. */
  readonly logPath: string;
  readonly graphDriver: { readonly name: string; readonly data: Readonly<Record<string, string>> };
  readonly hostnamePath: string;
  readonly hostsPath: string;
  readonly resolvConfPath: string;
  /** Pinned network namespace; "" for none. */
  readonly sandboxKey: string;
}

export interface CpuClock {
  /** Nanoseconds since boot, over all CPUs. */
  readonly totalNs: number;
  readonly online: number;
}
