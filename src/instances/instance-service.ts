/** The verbs on instances, whatever their isolation. `manager.ts` implements it; transports and the builder use it. */
import type { Readable, Writable } from "node:stream";
import type { BerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { Healthcheck, ImageRecord, ImageRunConfig, Platform } from "../schema/image.ts";
import type { InstanceRecord, InstanceSpec, ProcessSpec, RestartPolicy, Ulimit } from "../schema/instance.ts";
import type { PortChoice } from "./ports.ts";
import type { EndpointSpec, PortSpec, PublishedPort } from "../schema/network.ts";
import type { UsageLine } from "../schema/usage.ts";
import type { ResourceSpec, ResourceUsage } from "../schema/resources.ts";
import type { Change } from "../snapshots/snapshotter.ts";
import type { OutputFrame, TaskIo, TerminalSize } from "./driver.ts";

/** A spec as the user asks for it: what is null or empty is taken from the image when it is created. */
export interface InstanceRequest extends Omit<InstanceSpec, "process" | "healthcheck"> {
  readonly process: Omit<ProcessSpec, "entrypoint" | "cmd"> & {
    /** null inherits; [] clears. Giving one drops the image's cmd, as in Docker. */
    readonly entrypoint: readonly string[] | null;
    readonly cmd: readonly string[] | null;
  };
  readonly healthcheck: Healthcheck | null;
  readonly platform?: Platform;
  /** Root file system of this chain instead of the image's (a build step; `image` is then only a label and may be ""). */
  readonly rootfsChainId?: string;
  /** "NAME=value" of its process, kept in memory only: no record has them, and a restarted engine knows them no more. */
  readonly secretEnv?: readonly string[];
  /**
   * Puts files of its own into the directory of the instance in the making: disks of a machine. When it throws, or anything after it does,
   * the directory goes with all that is in it.
   */
  readonly furnish?: (
    ctx: OpContext,
    place: { readonly id: string; readonly name: string; readonly dataDir: string },
  ) => Promise<void>;
}

/** An instance whose lock is held: nobody starts, stops, removes or changes it meanwhile. */
export interface HeldInstance {
  readonly record: InstanceRecord;
  /** Its files, which outlive its runs; a machine's disks are in `disks/`. */
  readonly dataDir: string;
  /** Its present run's files. */
  readonly runDir: string;
  /**
   * Replaces the specification, on the disk when it returns. Where that takes more of the host than before and it runs, the ledger is
   * asked first (`CAPACITY_SHORT`).
   */
  update(change: (spec: InstanceSpec) => InstanceSpec): InstanceRecord;
  /** Changes the limits around it while it runs. */
  applyLimits(ctx: OpContext, resources: ResourceSpec): Promise<void>;
}

export interface InstanceService {
  create(
    ctx: OpContext,
    request: InstanceRequest,
  ): Promise<{ readonly record: InstanceRecord; readonly warnings: readonly string[] }>;
  /** By id, name, or unambiguous id prefix. `INSTANCE_NOT_FOUND` (404), `INSTANCE_ID_AMBIGUOUS` (400). */
  resolve(nameOrId: string): InstanceRecord;
  /** All but internal ones, newest first. */
  list(): readonly InstanceRecord[];
  /** Running already is no error: `started` is false (Docker's 304). */
  start(ctx: OpContext, nameOrId: string): Promise<{ readonly started: boolean }>;
  /** Stop signal, then SIGKILL after `timeoutSeconds` (-1 waits for ever). Stopped already: `stopped` false. */
  stop(
    ctx: OpContext,
    nameOrId: string,
    options: { readonly signal?: string; readonly timeoutSeconds?: number },
  ): Promise<{ readonly stopped: boolean }>;
  restart(
    ctx: OpContext,
    nameOrId: string,
    options: { readonly signal?: string; readonly timeoutSeconds?: number },
  ): Promise<void>;
  kill(ctx: OpContext, nameOrId: string, signal: string): Promise<void>;
  pause(ctx: OpContext, nameOrId: string): Promise<void>;
  resume(ctx: OpContext, nameOrId: string): Promise<void>;
  rename(ctx: OpContext, nameOrId: string, newName: string): Promise<void>;
  /** `filesLater`: resolves when the removal is certain; its files go meanwhile. */
  remove(
    ctx: OpContext,
    nameOrId: string,
    options: { readonly force: boolean; readonly volumes: boolean; readonly filesLater?: boolean },
  ): Promise<void>;
  prune(
    ctx: OpContext,
    filters: Filters,
  ): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }>;
  /**
   * Resolves at the condition. The returned promise settles once the waiter is registered, so that a client that starts the
   * instance after reading the response's head cannot miss its end.
   */
  wait(ctx: OpContext, nameOrId: string, condition: WaitCondition): Promise<{ readonly done: Promise<WaitResult> }>;
  logs(ctx: OpContext, nameOrId: string, options: LogOptions): Promise<Readable>;
  /** Also before the start: the streams then begin with it. */
  attach(ctx: OpContext, nameOrId: string, options: AttachOptions): Promise<AttachSession>;
  resize(ctx: OpContext, nameOrId: string, size: TerminalSize): Promise<void>;

  execCreate(ctx: OpContext, nameOrId: string, request: ExecSpec): Promise<string>;
  execStart(
    ctx: OpContext,
    execId: string,
    options: { readonly detach: boolean; readonly tty?: boolean; readonly terminal?: TerminalSize },
  ): Promise<AttachSession | undefined>;
  execResize(ctx: OpContext, execId: string, size: TerminalSize): Promise<void>;
  /** `EXEC_NOT_FOUND`. */
  execInspect(execId: string): ExecState;
  /** Sessions that run in an instance or wait to be started there. */
  execIds(nameOrId: string): readonly string[];

  /** Follows nothing out of the instance's root: symbolic links are resolved inside it. `PATH_NOT_FOUND` (404). */
  statPath(ctx: OpContext, nameOrId: string, path: string): Promise<PathStat>;
  /** A tar whose first entry is the path's base name. */
  copyFrom(
    ctx: OpContext,
    nameOrId: string,
    path: string,
  ): Promise<{ readonly stat: PathStat; readonly tar: Readable }>;
  copyTo(
    ctx: OpContext,
    nameOrId: string,
    directory: string,
    tar: Readable,
    options: { readonly noOverwriteDirNonDir: boolean; readonly copyUidGid: boolean },
  ): Promise<void>;
  export(ctx: OpContext, nameOrId: string): Promise<Readable>;
  changes(ctx: OpContext, nameOrId: string): Promise<readonly Change[]>;
  commit(ctx: OpContext, nameOrId: string, request: CommitRequest): Promise<ImageRecord>;
  update(
    ctx: OpContext,
    nameOrId: string,
    changes: {
      readonly resources: Partial<ResourceSpec>;
      readonly restartPolicy?: RestartPolicy;
      readonly ulimits?: readonly Ulimit[];
    },
  ): Promise<readonly string[]>;

  processes(
    ctx: OpContext,
    nameOrId: string,
    psArguments: string,
  ): Promise<{ readonly titles: readonly string[]; readonly rows: readonly (readonly string[])[] }>;
  usage(ctx: OpContext, nameOrId: string): Promise<InstanceUsage>;
  /** Of all that run, or those named, in one reading. */
  usageLines(ctx: OpContext, names: readonly string[]): Promise<readonly UsageLine[]>;
  /** File on the host that the log is written to; "" with the log driver "none". */
  logPath(nameOrId: string): string;
  /** Bytes of the writable layer, and of it with the image. */
  size(ctx: OpContext, nameOrId: string): Promise<{ readonly rw: number; readonly rootFs: number }>;

  /** Bytes on disk of each listed instance's writable layer and log, as du(1) counts, by id. */
  diskUsage(ctx: OpContext): Promise<ReadonlyMap<string, number>>;

  connect(ctx: OpContext, nameOrId: string, network: string, endpoint: EndpointSpec): Promise<void>;
  disconnect(ctx: OpContext, nameOrId: string, network: string, force: boolean): Promise<void>;
  /** Removes a link that the instance was created with (`docker rm --link`). `INSTANCE_NOT_FOUND` when it has none of that alias. */
  unlink(ctx: OpContext, nameOrId: string, alias: string): Promise<void>;
  /**
   * Publishes further ports, at once when it runs, else at its next start; all or none. Returns those that are published then.
   * `PORT_IN_USE`, `PORTS_NOT_ITS_OWN`.
   */
  publish(ctx: OpContext, nameOrId: string, ports: readonly PortSpec[]): Promise<readonly PublishedPort[]>;
  /** Takes published ports away again. `PORT_NOT_PUBLISHED` when none fits. */
  unpublish(ctx: OpContext, nameOrId: string, choice: PortChoice): Promise<readonly PublishedPort[]>;

  /** Host directory of an instance's root, mounted while held: for the builder's COPY and for `cp`. */
  withRootfs<T>(ctx: OpContext, nameOrId: string, work: (root: string) => Promise<T>): Promise<T>;
  /** Volumes held, by volume name -> instance ids. */
  volumeUsers(name: string): readonly string[];
  imageUsers(imageId: string): readonly { readonly instanceId: string; readonly running: boolean }[];
}

/** Docker's filters: name -> accepted values. */
export type Filters = Readonly<Record<string, readonly string[]>>;

export type WaitCondition = "not-running" | "next-exit" | "removed";
export interface WaitResult {
  readonly exitCode: number;
  readonly error: string;
}

export interface LogOptions {
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly follow: boolean;
  /** Milliseconds since the epoch. */
  readonly since?: number;
  readonly until?: number;
  /** Lines from the end; undefined is all. */
  readonly tail?: number;
}

/** What {@link InstanceService.logs} streams, in object mode. */
export interface LogLine {
  readonly stream: "stdout" | "stderr";
  /** RFC 3339 with nanoseconds. */
  readonly time: string;
  /** With its newline, when the line had one. */
  readonly data: Uint8Array;
}

export interface AttachOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Send what was logged so far first. */
  readonly logs: boolean;
  /** Send what comes from now on. */
  readonly stream: boolean;
}

export interface AttachSession {
  /** Whether the process has a terminal: its output is then raw, else framed by the transport. */
  readonly tty: boolean;
  readonly output: TaskIo["output"];
  readonly stdin: Writable | undefined;
  /** Leaves; the process goes on. `byDetachKeys`: the client typed them, which Docker reports as an event. */
  detach(byDetachKeys?: boolean): void;
}

export type { OutputFrame };

export interface ExecSpec {
  readonly argv: readonly string[];
  /** Additions to the instance's. */
  readonly env: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  readonly tty: boolean;
  readonly attachStdin: boolean;
  readonly attachStdout: boolean;
  readonly attachStderr: boolean;
  readonly privileged: boolean;
  readonly detachKeys: string;
}

export interface ExecState {
  readonly id: string;
  readonly instanceId: string;
  readonly spec: ExecSpec;
  readonly running: boolean;
  readonly exitCode: number | null;
  readonly pid: number;
  /** Why it could not be started, where it could not. */
  readonly failure?: BerthError;
}

export interface PathStat {
  readonly name: string;
  readonly size: number;
  /** Go's os.FileMode bits, as Docker sends them. */
  readonly mode: number;
  /** RFC 3339. */
  readonly mtime: string;
  readonly linkTarget: string;
}

export interface CommitRequest {
  readonly reference?: string;
  readonly comment: string;
  readonly author: string;
  readonly pause: boolean;
  /** Dockerfile instructions. */
  readonly changes: readonly string[];
  /** Replaces the configuration's run part, when the client sent one. */
  readonly config?: ImageRunConfig;
}

export interface InstanceUsage {
  /** ISO 8601. */
  readonly readAt: string;
  readonly resources: ResourceUsage;
  /** By interface name. */
  readonly networks: Readonly<Record<string, NetworkCounters>>;
}

export interface NetworkCounters {
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}
