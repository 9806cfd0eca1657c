import { type Static, Type } from "typebox";
import { field, flag, integer, keySet, param, stringMap, strings, text } from "./fields.ts";

/** Times in nanoseconds. */
export const DockerHealthcheck = Type.Object({
  Test: strings(),
  Interval: integer(),
  Timeout: integer(),
  StartPeriod: integer(),
  StartInterval: integer(),
  Retries: integer(),
});

/** Docker's ContainerConfig: the portable part of a container. */
export const DockerContainerConfig = Type.Object({
  Hostname: text(),
  Domainname: text(),
  User: text(),
  AttachStdin: flag(),
  AttachStdout: flag(),
  AttachStderr: flag(),
  ExposedPorts: keySet('"80/tcp" -> {}'),
  Tty: flag(),
  OpenStdin: flag(),
  StdinOnce: flag("Close stdin when the first attached client goes"),
  Env: strings('"NAME=value"'),
  Cmd: field(Type.Union([Type.Array(Type.String()), Type.String()])),
  Healthcheck: field(DockerHealthcheck),
  ArgsEscaped: flag("Windows only: must be false"),
  Image: text(),
  Volumes: keySet("Anonymous volumes by mount point"),
  WorkingDir: text(),
  Entrypoint: field(Type.Union([Type.Array(Type.String()), Type.String()])),
  NetworkDisabled: flag(),
  MacAddress: text("Older clients: of the first network"),
  OnBuild: strings(),
  Labels: stringMap(),
  StopSignal: text(),
  StopTimeout: integer("Seconds"),
  Shell: strings(),
});
export type DockerContainerConfig = Static<typeof DockerContainerConfig>;

export const DockerPortBinding = Type.Object({ HostIp: text(), HostPort: text('"8080", "8000-8010" or ""') });
const DeviceRates = field(Type.Array(Type.Object({ Path: Type.String(), Rate: Type.Integer({ minimum: 0 }) })));

export const DockerMount = Type.Object({
  Type: Type.String({ description: "bind, volume or tmpfs" }),
  Source: text(),
  Target: text(),
  ReadOnly: flag(),
  Consistency: text("Only matters to Docker Desktop"),
  BindOptions: field(
    Type.Object({
      Propagation: text(),
      NonRecursive: flag(),
      CreateMountpoint: flag(),
      ReadOnlyNonRecursive: flag(),
      ReadOnlyForceRecursive: flag(),
    }),
  ),
  VolumeOptions: field(
    Type.Object({
      NoCopy: flag(),
      Labels: stringMap(),
      Subpath: text(),
      DriverConfig: field(Type.Object({ Name: text(), Options: stringMap() })),
    }),
  ),
  TmpfsOptions: field(
    Type.Object({
      SizeBytes: integer(),
      Mode: integer(),
      Options: field(Type.Array(Type.Array(Type.String()))),
    }),
  ),
});
export type DockerMount = Static<typeof DockerMount>;

export const DockerUlimit = Type.Object({ Name: Type.String(), Soft: Type.Integer(), Hard: Type.Integer() });
export const DockerRestartPolicy = Type.Object({ Name: text(), MaximumRetryCount: integer() });

/** The part of HostConfig that can also be updated. */
const resourceFields = {
  CpuShares: integer(),
  Memory: integer("Bytes"),
  NanoCpus: integer("Billionths of a CPU"),
  CgroupParent: text("Not supported: each engine has its own"),
  BlkioWeight: field(Type.Integer({ minimum: 0, maximum: 65535 })),
  BlkioWeightDevice: field(
    Type.Array(Type.Object({ Path: Type.String(), Weight: Type.Integer({ minimum: 0, maximum: 65535 }) })),
  ),
  BlkioDeviceReadBps: DeviceRates,
  BlkioDeviceWriteBps: DeviceRates,
  BlkioDeviceReadIOps: DeviceRates,
  BlkioDeviceWriteIOps: DeviceRates,
  CpuPeriod: integer("Microseconds"),
  CpuQuota: integer("Microseconds"),
  CpuRealtimePeriod: integer("Not supported"),
  CpuRealtimeRuntime: integer("Not supported"),
  CpusetCpus: text('"0-2,4"'),
  CpusetMems: text(),
  Devices: field(Type.Array(Type.Object({ PathOnHost: text(), PathInContainer: text(), CgroupPermissions: text() }))),
  DeviceCgroupRules: strings('"c 13:* rwm"'),
  DeviceRequests: field(Type.Array(Type.Unknown()), "Not supported (GPUs by driver)"),
  KernelMemory: integer("Not supported; removed from Linux"),
  KernelMemoryTCP: integer("Not supported; cgroup v1 only"),
  MemoryReservation: integer(),
  MemorySwap: integer("Memory and swap; -1 is unlimited swap"),
  MemorySwappiness: integer("0 to 100; -1 leaves the kernel's"),
  OomKillDisable: flag(),
  PidsLimit: integer(),
  Ulimits: field(Type.Array(DockerUlimit)),
  CpuCount: integer("Windows only"),
  CpuPercent: integer("Windows only"),
  IOMaximumIOps: integer("Windows only"),
  IOMaximumBandwidth: integer("Windows only"),
};

export const DockerHostConfig = Type.Object({
  ...resourceFields,
  Binds: strings('"source:target[:options]"; options ro, rw, z, Z, nocopy, and a propagation'),
  ContainerIDFile: text("Kept; the client writes it"),
  LogConfig: field(Type.Object({ Type: text("json-file, local or none"), Config: stringMap() })),
  NetworkMode: text("bridge, none, host, container:ID, or a network's name"),
  PortBindings: field(Type.Record(Type.String(), Type.Union([Type.Array(DockerPortBinding), Type.Null()]))),
  RestartPolicy: field(DockerRestartPolicy),
  AutoRemove: flag(),
  VolumeDriver: text('"local"'),
  VolumesFrom: strings('"container[:ro]"'),
  Mounts: field(Type.Array(DockerMount)),
  ConsoleSize: field(Type.Array(Type.Integer({ minimum: 0 }), { minItems: 2, maxItems: 2 }), "Height and width"),
  Annotations: stringMap(),
  CapAdd: strings(),
  CapDrop: strings(),
  Capabilities: strings("Not supported: use CapAdd and CapDrop"),
  CgroupnsMode: text("private or host"),
  Dns: strings(),
  DnsOptions: strings(),
  DnsSearch: strings(),
  ExtraHosts: strings('"name:address"'),
  GroupAdd: strings(),
  IpcMode: text("private, shareable, none, host or container:ID"),
  Cgroup: text("Not supported"),
  Links: strings('"container:alias"'),
  OomScoreAdj: integer(),
  PidMode: text("host or container:ID"),
  Privileged: flag(),
  PublishAllPorts: flag(),
  ReadonlyRootfs: flag(),
  SecurityOpt: strings(
    "no-new-privileges, seccomp=PROFILE, apparmor=unconfined, label=disable, systempaths=unconfined",
  ),
  StorageOpt: stringMap("Not supported"),
  Tmpfs: stringMap('"/run" -> "size=64m,mode=755"'),
  UTSMode: text("host"),
  UsernsMode: text("host"),
  ShmSize: integer("Bytes"),
  Sysctls: stringMap(),
  Runtime: text("The engine's own runtime, or vm: a virtual machine"),
  Isolation: text('"default"'),
  Init: flag(),
  MaskedPaths: strings(),
  ReadonlyPaths: strings(),
});
export type DockerHostConfig = Static<typeof DockerHostConfig>;

export const DockerEndpointSettings = Type.Object({
  IPAMConfig: field(
    Type.Object({
      IPv4Address: text(),
      IPv6Address: text(),
      LinkLocalIPs: strings("Further addresses of its interface, in 169.254.0.0/16 or fe80::/10"),
    }),
  ),
  Links: strings(),
  Aliases: strings(),
  MacAddress: text(),
  DriverOpts: stringMap(),
  GwPriority: integer(),
  NetworkID: text(),
  IPAddress: text(),
});
export type DockerEndpointSettings = Static<typeof DockerEndpointSettings>;

export const CreateContainerBody = Type.Interface([DockerContainerConfig], {
  HostConfig: field(DockerHostConfig),
  NetworkingConfig: field(
    Type.Object({
      EndpointsConfig: field(Type.Record(Type.String(), Type.Union([DockerEndpointSettings, Type.Null()]))),
    }),
  ),
});
export type CreateContainerBody = Static<typeof CreateContainerBody>;

export const UpdateContainerBody = Type.Object({ ...resourceFields, RestartPolicy: field(DockerRestartPolicy) });
export type UpdateContainerBody = Static<typeof UpdateContainerBody>;

export const RenameQuery = Type.Object({ name: param.text("New name") });
export const CreateContainerQuery = Type.Object({
  name: param.text("Name; empty lets the engine choose"),
  platform: param.text("os[/arch[/variant]] of the image"),
});

export const ListContainersQuery = Type.Object({
  all: param.flag("Also those that don't run"),
  limit: param.integer("The newest so many, whatever their state"),
  size: param.flag("With sizes (slow)"),
  filters: param.filters(
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
  ),
});

export const InspectContainerQuery = Type.Object({ size: param.flag("With SizeRw and SizeRootFs") });
export const TopQuery = Type.Object({ ps_args: param.text("Arguments of ps; -ef by default") });
export const StopQuery = Type.Object({
  signal: param.text("Signal to send first (since 1.42)"),
  t: param.integer("Seconds to wait before SIGKILL; -1 waits for ever"),
});
export const StartQuery = Type.Object({
  detachKeys: param.text("Kept by the client"),
  checkpoint: param.text("Not supported"),
  "checkpoint-dir": param.text("Not supported"),
});
export const KillQuery = Type.Object({ signal: param.text("Name or number; SIGKILL by default") });
export const RemoveContainerQuery = Type.Object({
  v: param.flag("Also its anonymous volumes"),
  force: param.flag("Kill it first"),
  link: param.flag("Not supported (removes a legacy link)"),
});
export const WaitQuery = Type.Object({ condition: param.text("not-running, next-exit or removed (since 1.30)") });
export const ResizeQuery = Type.Object({ h: param.text("Rows"), w: param.text("Columns") });

export const LogsQuery = Type.Object({
  stdout: param.flag("Standard output"),
  stderr: param.flag("Standard error"),
  follow: param.flag("Keep sending what comes"),
  since: param.text("Unix time, with a fraction"),
  until: param.text("Unix time, with a fraction"),
  timestamps: param.flag("Put the time before each line"),
  tail: param.text("Lines from the end, or all"),
  details: param.flag("Put the log options' labels and variables before each line"),
});

export const AttachQuery = Type.Object({
  detachKeys: param.text("Keys that detach; ctrl-p,ctrl-q by default"),
  logs: param.flag("Send what was logged so far first"),
  stream: param.flag("Send what comes from now on"),
  stdin: param.flag("Attach standard input"),
  stdout: param.flag("Attach standard output"),
  stderr: param.flag("Attach standard error"),
});

export const StatsQuery = Type.Object({
  stream: param.flag("One reading a second until the client goes", true),
  "one-shot": param.flag("With stream=0: a single reading without the one before it (since 1.41)"),
});

export const ArchiveQuery = Type.Object({
  path: param.text("Path inside the container"),
  noOverwriteDirNonDir: param.flag("Refuse to replace a directory by a file or the reverse"),
  copyUIDGID: param.flag("Keep the archive's owners"),
});

export const CommitQuery = Type.Object({
  container: param.text("Id or name"),
  repo: param.text("Repository of the image"),
  tag: param.text("Tag of the image"),
  comment: param.text("Message"),
  author: param.text("Author"),
  pause: param.flag("Pause it meanwhile", true),
  changes: param.texts("Dockerfile instructions to apply"),
});

export const PruneContainersQuery = Type.Object({ filters: param.filters("label", "label!", "until") });

export const CreateExecBody = Type.Object({
  AttachStdin: flag(),
  AttachStdout: flag(),
  AttachStderr: flag(),
  ConsoleSize: field(Type.Array(Type.Integer({ minimum: 0 }), { minItems: 2, maxItems: 2 })),
  Detach: flag(),
  DetachKeys: text(),
  Tty: flag(),
  Env: strings(),
  Cmd: strings(),
  Privileged: flag(),
  User: text(),
  WorkingDir: text(),
});
export const StartExecBody = Type.Object({
  Detach: flag(),
  Tty: flag(),
  ConsoleSize: field(Type.Array(Type.Integer({ minimum: 0 }), { minItems: 2, maxItems: 2 }), "Height and width"),
});
