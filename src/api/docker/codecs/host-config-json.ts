import type { InstanceRecord, InstanceSpec, MountSpec } from "../../../schema/instance.ts";
import type { PortSpec } from "../../../schema/network.ts";
import type { ResourceSpec } from "../../../schema/resources.ts";
import type { SystemFacts } from "../backend.ts";
import { mountFieldTargets } from "./mount-points.ts";
import { machineRuntime } from "./unsupported.ts";

/**
 * Docker's HostConfig of an instance: from its spec, and where Docker shows what the client wrote (Binds, Mounts,
 * PortBindings, ...) from what was kept of the request.
 */
export function hostConfigJson(record: InstanceRecord, facts: SystemFacts): object {
  const { spec } = record;
  const { security, network } = spec;
  const kept = (name: string) => spec.passthrough[`HostConfig.${name}`];
  const mounts = statedMounts(spec);
  return {
    Binds: mounts.binds,
    ContainerIDFile: kept("ContainerIDFile") ?? "",
    LogConfig: { Type: spec.log.driver, Config: spec.log.options },
    NetworkMode: network.mode,
    PortBindings: kept("PortBindings") ?? portBindings(network.ports),
    RestartPolicy: {
      Name: spec.restartPolicy.name,
      MaximumRetryCount: spec.restartPolicy.maximumRetryCount,
    },
    AutoRemove: spec.autoRemove,
    VolumeDriver: kept("VolumeDriver") ?? "",
    VolumesFrom: kept("VolumesFrom") ?? null,
    ConsoleSize: kept("ConsoleSize") ?? [0, 0],
    ...(Object.keys(spec.annotations).length === 0 ? {} : { Annotations: spec.annotations }),
    CapAdd: security.capAdd.length === 0 ? null : security.capAdd.map(capabilityName),
    CapDrop: security.capDrop.length === 0 ? null : security.capDrop.map(capabilityName),
    CgroupnsMode: spec.namespaces.cgroup || (facts.cgroupVersion === 2 ? "private" : "host"),
    Dns: network.dns,
    DnsOptions: network.dnsOptions,
    DnsSearch: network.dnsSearch,
    ExtraHosts: orNull(network.extraHosts),
    GroupAdd: orNull(spec.process.groupAdd),
    IpcMode: spec.namespaces.ipc || "private",
    Cgroup: "",
    Links: links(record),
    OomScoreAdj: spec.oomScoreAdj,
    PidMode: spec.namespaces.pid,
    Privileged: security.privileged,
    PublishAllPorts: network.publishAll,
    ReadonlyRootfs: security.readonlyRootfs,
    SecurityOpt: kept("SecurityOpt") ?? securityOptions(spec),
    ...(mounts.tmpfs === undefined ? {} : { Tmpfs: mounts.tmpfs }),
    UTSMode: spec.namespaces.uts,
    UsernsMode: spec.namespaces.user,
    ShmSize: spec.shmSize === 0 ? 64 * 1024 * 1024 : spec.shmSize,
    ...(Object.keys(spec.sysctls).length === 0 ? {} : { Sysctls: spec.sysctls }),
    Runtime: spec.isolation === "vm" ? machineRuntime : facts.runtime,
    Isolation: kept("Isolation") ?? "",
    ...resourcesJson(spec),
    ...(mounts.mounts === undefined ? {} : { Mounts: mounts.mounts }),
    MaskedPaths: security.maskedPaths ?? (security.privileged ? null : defaultMaskedPaths),
    ReadonlyPaths: security.readonlyPaths ?? (security.privileged ? null : defaultReadonlyPaths),
    ...(spec.process.init ? { Init: true } : {}),
  };
}

function resourcesJson(spec: InstanceSpec): object {
  const { resources } = spec;
  const rates = (list: ResourceSpec["blkioDeviceReadBps"]) =>
    list.map(({ path, rate }) => ({ Path: path, Rate: rate }));
  return {
    CpuShares: resources.cpuShares,
    Memory: resources.memory,
    NanoCpus: resources.nanoCpus,
    CgroupParent: "",
    BlkioWeight: resources.blkioWeight,
    BlkioWeightDevice: resources.blkioWeightDevice.map(({ path, weight }) => ({ Path: path, Weight: weight })),
    BlkioDeviceReadBps: rates(resources.blkioDeviceReadBps),
    BlkioDeviceWriteBps: rates(resources.blkioDeviceWriteBps),
    BlkioDeviceReadIOps: rates(resources.blkioDeviceReadIops),
    BlkioDeviceWriteIOps: rates(resources.blkioDeviceWriteIops),
    CpuPeriod: resources.cpuPeriod,
    CpuQuota: resources.cpuQuota,
    CpuRealtimePeriod: 0,
    CpuRealtimeRuntime: 0,
    CpusetCpus: resources.cpusetCpus,
    CpusetMems: resources.cpusetMems,
    Devices: spec.devices.map((device) => ({
      PathOnHost: device.pathOnHost,
      PathInContainer: device.pathInContainer,
      CgroupPermissions: device.permissions,
    })),
    DeviceCgroupRules: orNull(spec.deviceCgroupRules),
    DeviceRequests: null,
    MemoryReservation: resources.memoryReservation,
    // Docker fills in twice the memory when only memory is limited.
    MemorySwap: resources.memorySwap === 0 && resources.memory > 0 ? resources.memory * 2 : resources.memorySwap,
    MemorySwappiness: resources.memorySwappiness,
    OomKillDisable: resources.oomKillDisable,
    PidsLimit: resources.pidsLimit === 0 ? null : resources.pidsLimit,
    Ulimits: spec.ulimits.map(({ name, soft, hard }) => ({ Name: name, Hard: hard, Soft: soft })),
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
  };
}

interface StatedMounts {
  readonly binds: unknown;
  readonly mounts: unknown;
  readonly tmpfs: Readonly<Record<string, string>> | undefined;
}

/** As the client wrote them; for an instance that was made without Docker's words, as Docker would have been told. */
function statedMounts(spec: InstanceSpec): StatedMounts {
  const binds = spec.passthrough["HostConfig.Binds"];
  const mounts = spec.passthrough["HostConfig.Mounts"];
  const mountTargets = mountFieldTargets(spec);
  const tmpfs = spec.mounts.flatMap((mount) =>
    mount.type === "tmpfs" && !mountTargets.has(mount.target) ? [[mount.target, mount.options.join(",")] as const] : [],
  );
  const rebuilt = binds === undefined && mounts === undefined ? spec.mounts.flatMap(bindText) : [];
  return {
    binds: binds ?? orNull(rebuilt),
    mounts,
    tmpfs: tmpfs.length === 0 ? undefined : Object.fromEntries(tmpfs),
  };
}

function bindText(mount: MountSpec): readonly string[] {
  if (mount.type === "tmpfs" || (mount.type === "volume" && mount.anonymous)) return [];
  const source = mount.type === "bind" ? mount.source : mount.name;
  return [`${source}:${mount.target}${mount.readOnly ? ":ro" : ""}`];
}

function portBindings(ports: readonly PortSpec[]): Record<string, { HostIp: string; HostPort: string }[]> {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const port of ports) {
    const list = (bindings[`${port.containerPort}/${port.protocol}`] ??= []);
    const end = port.hostPortEnd === undefined ? "" : `-${port.hostPortEnd}`;
    list.push({ HostIp: port.hostIp, HostPort: port.hostPort === 0 ? "" : `${port.hostPort}${end}` });
  }
  return bindings;
}

/** "/other:/self/alias", as Docker shows "other:alias". */
function links(record: InstanceRecord): readonly string[] | null {
  const kept = record.spec.passthrough["HostConfig.Links"];
  if (!Array.isArray(kept)) return null;
  return kept.map((link) => {
    const [other = "", alias = other] = String(link).split(":", 2);
    return `/${other.replace(/^\//, "")}:/${record.name}/${alias}`;
  });
}

function securityOptions({ security }: InstanceSpec): readonly string[] | null {
  return orNull([
    ...(security.noNewPrivileges ? ["no-new-privileges"] : []),
    ...(security.seccomp === "default" ? [] : [`seccomp=${security.seccomp}`]),
    ...security.otherOptions,
  ]);
}

const capabilityName = (name: string) => (name === "ALL" ? name : `CAP_${name}`);
const orNull = <T>(list: readonly T[]) => (list.length === 0 ? null : list);

/** Docker's defaults, in effect when a spec says null. */
const defaultMaskedPaths = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const defaultReadonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
