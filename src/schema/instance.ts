import { type Static, Type } from "typebox";
import { Healthcheck } from "./image.ts";
import { MachineSpec } from "./machine.ts";
import { EndpointRecord, EndpointSpec, PortSpec, PublishedPort } from "./network.ts";
import { ResourceSpec } from "./resources.ts";

const StringMap = Type.Record(Type.String(), Type.String());
const Strings = Type.Array(Type.String());

/** Which kind of walls a workload runs behind. */
export const Isolation = Type.Union([Type.Literal("container"), Type.Literal("vm")]);
export type Isolation = Static<typeof Isolation>;

/** A file system put into an instance. A discriminated union over `type`. */
export const MountSpec = Type.Union([
  Type.Object({
    type: Type.Literal("bind"),
    /** Absolute path on the host. */
    source: Type.String(),
    target: Type.String(),
    readOnly: Type.Boolean(),
    /** Kernel mount propagation; "rprivate" unless asked otherwise. */
    propagation: Type.Union([
      Type.Literal("private"),
      Type.Literal("rprivate"),
      Type.Literal("shared"),
      Type.Literal("rshared"),
      Type.Literal("slave"),
      Type.Literal("rslave"),
    ]),
    /** Not recursive (Docker's `bind-recursive=disabled`). */
    nonRecursive: Type.Optional(Type.Boolean()),
    /** `-v` makes a missing source directory; `--mount` refuses. */
    createSource: Type.Boolean(),
  }),
  Type.Object({
    type: Type.Literal("volume"),
    /** "" until create has made an anonymous volume. */
    name: Type.String(),
    target: Type.String(),
    readOnly: Type.Boolean(),
    /** Don't fill an empty volume from the image. */
    noCopy: Type.Boolean(),
    subpath: Type.Optional(Type.String()),
    labels: Type.Optional(StringMap),
    driverOptions: Type.Optional(StringMap),
    /** Made for this instance without a name. */
    anonymous: Type.Boolean(),
  }),
  Type.Object({
    type: Type.Literal("tmpfs"),
    target: Type.String(),
    /** mount(8) words: "size=64m", "mode=1777", "noexec". */
    options: Strings,
  }),
]);
export type MountSpec = Static<typeof MountSpec>;

export const DeviceSpec = Type.Object({
  pathOnHost: Type.String(),
  pathInContainer: Type.String(),
  /** Letters of "rwm". */
  permissions: Type.String(),
});
export type DeviceSpec = Static<typeof DeviceSpec>;

export const Ulimit = Type.Object({ name: Type.String(), soft: Type.Integer(), hard: Type.Integer() });
export type Ulimit = Static<typeof Ulimit>;

/** The main process: already merged with the image's configuration when the record is stored. */
export const ProcessSpec = Type.Object({
  entrypoint: Strings,
  cmd: Strings,
  /** "NAME=value". */
  env: Strings,
  /** "", "user", "uid", "user:group", "uid:gid": resolved in the root file system at start. */
  user: Type.String(),
  /** Extra groups, names or ids. */
  groupAdd: Strings,
  workingDir: Type.String(),
  tty: Type.Boolean(),
  openStdin: Type.Boolean(),
  /** Close stdin when the first attached client goes. */
  stdinOnce: Type.Boolean(),
  /** Run Berth's init as PID 1, which forwards signals and reaps. */
  init: Type.Boolean(),
});
export type ProcessSpec = Static<typeof ProcessSpec>;

export const SecuritySpec = Type.Object({
  privileged: Type.Boolean(),
  /** Capability names without "CAP_", upper case; "ALL" allowed. */
  capAdd: Strings,
  capDrop: Strings,
  noNewPrivileges: Type.Boolean(),
  /** "default", "unconfined", or a profile's JSON text in Docker's format. */
  seccomp: Type.String(),
  /** null means the default list; [] means none. */
  maskedPaths: Type.Union([Strings, Type.Null()]),
  readonlyPaths: Type.Union([Strings, Type.Null()]),
  readonlyRootfs: Type.Boolean(),
  /** Remaining `--security-opt` words, kept for inspect ("label=disable"). */
  otherOptions: Strings,
});
export type SecuritySpec = Static<typeof SecuritySpec>;

/** Each is "private", "host", or "container:<id>" (ipc also "shareable", "none"). "" is the default. */
export const NamespaceSpec = Type.Object({
  pid: Type.String(),
  ipc: Type.String(),
  uts: Type.String(),
  cgroup: Type.String(),
  user: Type.String(),
});
export type NamespaceSpec = Static<typeof NamespaceSpec>;

export const InstanceNetworkSpec = Type.Object({
  /** "none", "host", "container:<id>", or the name of the first network ("bridge" for the default one). */
  mode: Type.String(),
  /** By network name. Holds at least the one that `mode` names, unless that is none, host or container. */
  endpoints: Type.Record(Type.String(), EndpointSpec),
  ports: Type.Array(PortSpec),
  /** "80/tcp", from the image and `--expose`. */
  exposedPorts: Strings,
  publishAll: Type.Boolean(),
  dns: Strings,
  dnsSearch: Strings,
  dnsOptions: Strings,
  /** "host:ip"; ip may be "host-gateway". */
  extraHosts: Strings,
});
export type InstanceNetworkSpec = Static<typeof InstanceNetworkSpec>;

export const RestartPolicy = Type.Object({
  name: Type.Union([
    Type.Literal("no"),
    Type.Literal("always"),
    Type.Literal("on-failure"),
    Type.Literal("unless-stopped"),
    // Beside Docker's: as on-failure, and an unhealthy run counts as one that failed.
    Type.Literal("unhealthy"),
  ]),
  /** For on-failure and unhealthy; 0 is no bound. */
  maximumRetryCount: Type.Integer({ minimum: 0 }),
});
export type RestartPolicy = Static<typeof RestartPolicy>;

/** Everything that is fixed when an instance is created (resources and restart policy can be updated). */
export const InstanceSpec = Type.Object({
  isolation: Isolation,
  /** Hardware of a whole-OS machine (isolation "vm"); absent for one that runs an image's process. */
  machine: Type.Optional(MachineSpec),
  /** Without a leading slash; "" lets the engine choose one. */
  name: Type.String(),
  /** As the user gave it. */
  image: Type.String(),
  process: ProcessSpec,
  /** "" means the short id. */
  hostname: Type.String(),
  domainname: Type.String(),
  labels: StringMap,
  annotations: StringMap,
  mounts: Type.Array(MountSpec),
  devices: Type.Array(DeviceSpec),
  /** "c 13:* rwm". */
  deviceCgroupRules: Strings,
  security: SecuritySpec,
  namespaces: NamespaceSpec,
  sysctls: StringMap,
  /** /dev/shm, bytes; 0 is 64 MiB. */
  shmSize: Type.Integer({ minimum: 0 }),
  ulimits: Type.Array(Ulimit),
  oomScoreAdj: Type.Integer({ minimum: -1000, maximum: 1000 }),
  resources: ResourceSpec,
  network: InstanceNetworkSpec,
  restartPolicy: RestartPolicy,
  autoRemove: Type.Boolean(),
  /** "SIGTERM", "15"; "" means the image's, else SIGTERM. */
  stopSignal: Type.String(),
  /** Seconds; null means 10. */
  stopTimeout: Type.Union([Type.Integer(), Type.Null()]),
  healthcheck: Type.Union([Healthcheck, Type.Null()]),
  log: Type.Object({
    driver: Type.Union([Type.Literal("json-file"), Type.Literal("local"), Type.Literal("none")]),
    /** "max-size" ("10m"), "max-file" ("3"), "labels", "env", "tag". */
    options: StringMap,
  }),
  /** A container of the engine's own (a build step): not listed, removed at recovery. */
  internal: Type.Boolean(),
  /**
   * Fields of the request that Berth knows, keeps for `inspect`, and that change nothing here (AttachStdout, ConsoleSize,
   * CgroupParent when empty, ...). By Docker's field path, e.g. "HostConfig.ConsoleSize".
   */
  passthrough: Type.Record(Type.String(), Type.Unknown()),
});
export type InstanceSpec = Static<typeof InstanceSpec>;

export const InstanceStatus = Type.Union([
  Type.Literal("created"),
  Type.Literal("running"),
  Type.Literal("paused"),
  Type.Literal("restarting"),
  Type.Literal("removing"),
  Type.Literal("exited"),
  Type.Literal("dead"),
]);
export type InstanceStatus = Static<typeof InstanceStatus>;

export const HealthProbe = Type.Object({
  start: Type.String(),
  end: Type.String(),
  exitCode: Type.Integer(),
  output: Type.String(),
});
export type HealthProbe = Static<typeof HealthProbe>;

export const HealthState = Type.Object({
  status: Type.Union([Type.Literal("starting"), Type.Literal("healthy"), Type.Literal("unhealthy")]),
  failingStreak: Type.Integer(),
  /** The last five probes. */
  log: Type.Array(HealthProbe),
});
export type HealthState = Static<typeof HealthState>;

/** Serialisable, versioned state with which a restarted engine finds a running instance again. */
export const DriverHandle = Type.Object({
  driver: Type.String(),
  version: Type.Integer(),
  /** The driver's own; opaque to everybody else. */
  state: Type.Record(Type.String(), Type.Unknown()),
});
export type DriverHandle = Static<typeof DriverHandle>;

/** The moving part of an instance. Times are ISO 8601; "" means never. */
export const InstanceState = Type.Object({
  status: InstanceStatus,
  pid: Type.Integer(),
  exitCode: Type.Integer(),
  oomKilled: Type.Boolean(),
  error: Type.String(),
  startedAt: Type.String(),
  finishedAt: Type.String(),
  restartCount: Type.Integer(),
  /** Stopped by a user: `unless-stopped` and `always` don't bring it back. */
  manuallyStopped: Type.Boolean(),
  health: Type.Union([HealthState, Type.Null()]),
  handle: Type.Union([DriverHandle, Type.Null()]),
  endpoints: Type.Array(EndpointRecord),
  ports: Type.Array(PublishedPort),
});
export type InstanceState = Static<typeof InstanceState>;

/** An instance in the store. */
export const InstanceRecord = Type.Object({
  id: Type.String(),
  name: Type.String(),
  createdAt: Type.String(),
  /** Digest of the image it was made from; "" for one without an image. */
  imageId: Type.String(),
  /** Topmost layer of the image ("" for scratch). */
  chainId: Type.String(),
  spec: InstanceSpec,
  state: InstanceState,
});
export type InstanceRecord = Static<typeof InstanceRecord>;
