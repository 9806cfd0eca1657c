/**
 * What runs an instance behind its walls. One implementation per folder (`oci/`, `qemu/`) and `fake/`; every one
 * passes `driver.contract.ts`. The manager above owns records, root file systems, networks and policies; a driver owns
 * processes and control groups only.
 *
 * INVARIANTS
 *  - A handle is plain JSON, versioned, and enough to find the instance again from a new engine process.
 *  - What a driver starts outlives the engine, with its logs and its exit code.
 */
import type { Readable, Writable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { DriverHandle, InstanceSpec, Isolation } from "../schema/instance.ts";
import type { EndpointRecord } from "../schema/network.ts";
import type { ResourceSpec, ResourceUsage } from "../schema/resources.ts";
import type { Change } from "../snapshots/snapshotter.ts";
import type { OciSyscallRule } from "./oci/spec/oci-spec.ts";

export interface Driver {
  readonly name: string;
  readonly isolation: Isolation;
  /** Whether its instances are whole-OS machines, whose specification describes the hardware. */
  readonly hardware: boolean;
  /** Undefined: root file system and processes are among the host's, where the manager mounts and finds them. */
  readonly inside: DriverInside | undefined;
  /** How its processes get to see networks that come and go while they run. Undefined: by themselves, or, {@link inside}, never. */
  readonly networks?: DriverNetworks;
  /** What is installed and chosen, for `info`, `version` and `doctor`. */
  fingerprint(ctx: OpContext): Promise<DriverFingerprint>;
  /** Throws for the first thing that these walls can't have, when the instance is created. */
  refuse(spec: InstanceSpec): void;
  /**
   * Says that an instance, or a command in one, is about to be started: what takes its time and need not know which begins now. A hint,
   * for free.
   */
  expectStart(): void;
  /**
   * Everything up to the instance's first instruction: the monitor runs, the namespaces exist, attaching is possible.
   * Nothing is left when it throws. `COMMAND_NOT_FOUND` (127), `COMMAND_NOT_EXECUTABLE` (126), `RUNTIME_FAILED`.
   */
  prepare(ctx: OpContext, request: PrepareRequest): Promise<{ readonly handle: DriverHandle; readonly pid: number }>;
  /** Lets a prepared instance go. */
  start(ctx: OpContext, handle: DriverHandle): Promise<void>;
  /** After an engine restart: what has become of it. Reads, changes nothing. */
  recover(ctx: OpContext, handle: DriverHandle): Promise<Recovered>;
  /** Resolves when it has ended; also for a recovered one, and for one that ended while no engine ran. */
  wait(ctx: OpContext, handle: DriverHandle): Promise<TaskExit>;
  signal(ctx: OpContext, handle: DriverHandle, signal: number): Promise<void>;
  pause(ctx: OpContext, handle: DriverHandle): Promise<void>;
  resume(ctx: OpContext, handle: DriverHandle): Promise<void>;
  /** A live connection to the main process's streams. Any number at a time; each gets all output from now on. */
  attach(ctx: OpContext, handle: DriverHandle): Promise<TaskIo>;
  resize(ctx: OpContext, handle: DriverHandle, size: TerminalSize): Promise<void>;
  exec(ctx: OpContext, handle: DriverHandle, request: ExecRequest): Promise<ExecTask>;
  usage(ctx: OpContext, handle: DriverHandle): Promise<ResourceUsage>;
  /** Pids on the host. */
  processes(ctx: OpContext, handle: DriverHandle): Promise<readonly number[]>;
  update(ctx: OpContext, handle: DriverHandle, resources: ResourceSpec): Promise<void>;
  /** The log file was renamed: write to a new one from here on. */
  reopenLog(ctx: OpContext, handle: DriverHandle): Promise<void>;
  /** Kills what is left and removes what the driver made (control group, runtime state, bundle, monitor). Missing is no error. */
  destroy(ctx: OpContext, handle: DriverHandle): Promise<void>;
  /** Ids of what the driver keeps for the instance beside that under its own id: as little to be collected. */
  companions?(handle: DriverHandle): readonly string[];
  /** Removes driver state under its own directories whose instance id is not in `keep` (left by a killed engine). */
  collect(ctx: OpContext, keep: ReadonlySet<string>): Promise<readonly string[]>;
}

/** Files and processes of an instance that the host does not see: whoever is in there is asked. */
export interface DriverInside {
  /** Whether it can be prepared `resting`: files of one that does not run are reached so. */
  readonly rests: boolean;
  /** Undefined when there is none. A last link is followed only where the path ends in a slash. */
  stat(ctx: OpContext, handle: DriverHandle, path: string): Promise<GuestFile | undefined>;
  /** What was changed in the root file system, as the snapshotter tells it. */
  changes(ctx: OpContext, handle: DriverHandle): Promise<readonly Change[]>;
  /** The same as the tar of an OCI layer. `freeze`: its processes are stopped until the stream has ended, whoever ends it. */
  packChanges(ctx: OpContext, handle: DriverHandle, options: { readonly freeze: boolean }): Promise<Readable>;
  /** A tar whose first entry is `name`. */
  pack(ctx: OpContext, handle: DriverHandle, request: PackRequest): Promise<Readable>;
  /** Not compressed. */
  unpack(ctx: OpContext, handle: DriverHandle, request: UnpackRequest): Promise<void>;
  processes(ctx: OpContext, handle: DriverHandle): Promise<readonly GuestProcess[]>;
}

export interface DriverNetworks {
  /** Its networks are exactly these from now on, whatever it had: safe to be done again. */
  set(ctx: OpContext, handle: DriverHandle, networks: NetworksInside): Promise<void>;
}

/** The networks of an instance that runs, as {@link PrepareRequest} has them; `mounts` are those of the networks' files. */
export type NetworksInside = Pick<PrepareRequest, "spec" | "mounts" | "interfaces" | "endpoints">;

export interface PackRequest {
  readonly path: string;
  /** Of the first entry, which those of the others begin with. */
  readonly name: string;
  /** What a link at the path's end leads to. */
  readonly follow: boolean;
  /** As the processes see it, with what is mounted over the root; else the root alone. */
  readonly mounts: boolean;
}

export interface UnpackRequest {
  readonly directory: string;
  readonly tar: Readable;
  /** All files are this user's ("name", "uid:gid"), as the guest's own files know it; undefined: entries keep their numbers. */
  readonly owner: string | undefined;
  /** A directory takes the place of another file, and the other way round; else that is refused. */
  readonly replace: boolean;
}

export interface GuestFile {
  /** st_mode, with the file's type. */
  readonly mode: number;
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly linkTarget: string;
}

/** Numbers are those inside. */
export interface GuestProcess {
  readonly pid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly cpuSeconds: number;
  readonly command: string;
}

export interface DriverFingerprint {
  readonly available: boolean;
  /** Why not, or what is degraded. */
  readonly reasons: readonly string[];
  /** "runc" -> "1.1.5", "conmon" -> "2.1.6". */
  readonly versions: Readonly<Record<string, string>>;
  /** Name of the OCI runtime in use, "crun" or "runc"; "" for others. */
  readonly runtime: string;
}

export interface PrepareRequest {
  readonly id: string;
  readonly spec: InstanceSpec;
  /** Private directory for the bundle and the monitor's files; exists, 0700, on the run root. */
  readonly dir: string;
  /** Private directory of the instance that outlives its runs, on the data root; exists. */
  readonly dataDir: string;
  /** Topmost layer below the root file system; "" for none. */
  readonly chainId: string;
  /** Mounted root file system; "" for a driver whose instances have theirs inside. */
  readonly rootfs: string;
  /** In order, after the runtime's own (/proc, /dev, ...): binds, volumes, tmpfs, resolv.conf, hosts, hostname. */
  readonly mounts: readonly ResolvedMount[];
  readonly hostname: string;
  /** Path of a pinned namespace or /proc/PID/ns/..., "host", or "private" (pid, ipc, uts, cgroup: a fresh one). */
  readonly namespaces: {
    readonly network: string;
    readonly pid: string;
    readonly ipc: string;
    readonly uts: string;
    readonly cgroup: string;
  };
  /** Interfaces of the network namespace that are the instance's own, "eth0". */
  readonly interfaces: readonly string[];
  /** The networks that those are on. */
  readonly endpoints: readonly EndpointRecord[];
  /** Relative to the controllers' roots, "/<parent>/<id>". */
  readonly cgroupPath: string;
  /** Written in conmon's k8s-file format: `<RFC 3339 nano> <stdout|stderr> <F|P> <text>`. "" writes no log. */
  readonly logPath: string;
  /** Initial terminal size. */
  readonly terminal?: TerminalSize;
  /** Let through beside what the seccomp profile does: for what a driver runs behind another's walls. */
  readonly syscalls?: readonly OciSyscallRule[];
  /** Nothing is to run: it is made for {@link DriverInside} to be asked for the instance's files. */
  readonly resting?: boolean;
}

/** A mount of the OCI spec, as it is. */
export interface ResolvedMount {
  readonly type: "bind" | "tmpfs";
  readonly source: string;
  readonly target: string;
  /** mount(8) words: "rbind", "ro", "rprivate", "size=64m". */
  readonly options: readonly string[];
}

export type Recovered =
  | { readonly status: "running" | "paused"; readonly pid: number }
  | { readonly status: "exited"; readonly exit: TaskExit }
  /** Prepared but never started: to be destroyed. */
  | { readonly status: "prepared" }
  /** No trace: the machine was rebooted, or its state is gone. */
  | { readonly status: "lost" };

export interface TaskExit {
  /** As a shell reports it: 128 + signal for a signal. */
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** What kept its process from running, or ended what it ran in; absent when it just ended. */
  readonly error?: string;
  /** ISO 8601. */
  readonly finishedAt: string;
}

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

export interface OutputFrame {
  /** A terminal's output is all "stdout". */
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
}

/** Streams of a process. */
export interface TaskIo {
  /** Object mode, of {@link OutputFrame}; ends when the process has closed its output. */
  readonly output: Readable;
  /**
   * Ending it closes the process's stdin (half-close) for an exec, and for an instance whose specification has `stdinOnce`, unless
   * there is a terminal. Undefined when stdin is not open.
   */
  readonly stdin: Writable | undefined;
  /** Leaves; the process goes on, and its stdin stays as it is. */
  detach(): void;
}

export interface ExecRequest {
  readonly execId: string;
  readonly argv: readonly string[];
  /** Complete: the instance's environment with the additions. */
  readonly env: readonly string[];
  /** "" is the instance's. */
  readonly user: string;
  /** The instance's extra groups, names or ids: whoever a command runs as, it has them too. */
  readonly groupAdd: readonly string[];
  readonly workingDir: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly privileged: boolean;
  /** Nobody attends to it: it goes on without the engine, and its output is nobody's. */
  readonly detached: boolean;
  readonly terminal?: TerminalSize;
}

export interface ExecTask {
  readonly pid: number;
  readonly io: TaskIo;
  /** Exit code as a shell reports it. */
  readonly exited: Promise<number>;
  resize(size: TerminalSize): Promise<void>;
  signal(signal: number): Promise<void>;
}
