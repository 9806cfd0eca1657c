/**
 * The only door to the kernel and to processes. Everything above it takes a {@link Host}; `linux-host.ts` is the real
 * one and `fake/` a recording one. Nothing here knows what a container, an image or a network of Berth is.
 *
 * INVARIANTS
 *  - argv arrays only, never a shell string.
 *  - Blocking system calls run on the kernel worker's thread, never on the main one.
 *  - Processes are named by pid *and* start time, so that a recycled pid is never signalled.
 */
import type { LinkTraffic } from "./kernel/link-traffic.ts";
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { CgroupDriver } from "./cgroup.ts";
import type { KernelOp } from "./kernel-ops.ts";

export interface Host {
  readonly kernel: Kernel;
  readonly processes: Processes;
  readonly cgroups: CgroupDriver;
  readonly facts: HostFacts;
  readonly sockets: Sockets;
  /**
   * Ends the worker and stops watching. Leaves everything that was made in the kernel as it is: children live on, and promises
   * of their ends stay open. An open host with watched children keeps the process alive.
   */
  close(): Promise<void>;
}

/** Batches of kernel operations: one round trip to the worker's thread for each call. */
export interface Kernel {
  /**
   * Does `ops` in order and stops at the first failure, which it reports as `KERNEL_OP_FAILED` naming the
   * operation and errno. What came before is not undone: that is the caller's {@link Reverter}.
   */
  apply(ctx: OpContext, ops: readonly KernelOp[]): Promise<void>;
  /** Mounts of this process's namespace whose target lies under `prefix`, in mount order. */
  mounts(prefix: string): Promise<readonly MountEntry[]>;
  /** Network interfaces of the host (or of the namespace pinned at `netns`). */
  links(netns?: string): Promise<readonly LinkInfo[]>;
  /** Bytes that the host's own links have carried, by name: for following many of them. */
  linkTraffic(): Promise<ReadonlyMap<string, LinkTraffic>>;
  /** A small file as seen from inside `root` (openat2 with RESOLVE_IN_ROOT); undefined when there is none. Larger than `maxBytes`, or no regular file, is `READ_REFUSED`. */
  readInRoot(root: string, path: string, maxBytes: number): Promise<Uint8Array | undefined>;
  /** `getxattr` without following a final symlink; undefined when absent. */
  getXattr(path: string, name: string): Promise<Uint8Array | undefined>;
  listXattrs(path: string): Promise<readonly string[]>;
  /**
   * A copy of the mounts of this process, with files bound over others, for a program that must not see something. Mounts that are
   * made later are not in it.
   */
  privateMounts(
    ctx: OpContext,
    files: readonly { readonly source: string; readonly target: string }[],
  ): Promise<PrivateMounts>;
  /** Compiles a filter to a BPF program, an array of struct sock_filter; undefined where there is no libseccomp. 20 ms. */
  compileSeccomp(ctx: OpContext, filter: SeccompFilter): Promise<Uint8Array | undefined>;
  /** Takes an exclusive flock(2) on `path` (created when missing); throws `LOCK_HELD` when another process has it. */
  lock(path: string): Promise<Disposable>;
}

export interface PrivateMounts extends Disposable {
  /** For `nsenter --mount=`, until it is disposed. */
  readonly path: string;
}

/** A system call filter in the terms of the OCI runtime specification (config-linux.md, "Seccomp"). */
export interface SeccompFilter {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly syscalls: readonly {
    readonly names: readonly string[];
    readonly action: string;
    readonly errnoRet?: number;
    readonly args?: readonly SeccompArgument[];
  }[];
}

export interface SeccompArgument {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: string;
}

export interface MountEntry {
  readonly target: string;
  readonly source: string;
  readonly fstype: string;
}

export interface LinkInfo {
  readonly index: number;
  readonly name: string;
  readonly kind: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly mac: string;
  /** Index of the bridge it belongs to; 0 for none. */
  readonly master: number;
  /** "10.0.0.1/24"; both families. */
  readonly addresses: readonly string[];
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/** A process that can't be mistaken for a later one with the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, clock ticks since boot. */
  readonly startTime: number;
}

export type ExitStatus = { readonly code: number; readonly signal: 0 } | { readonly code: 0; readonly signal: number };

/** What a child's descriptor is: nothing, one of ours, or a fresh pipe or socket pair whose other end we keep. */
export type ChildFd =
  | { readonly kind: "null" }
  | { readonly kind: "fd"; readonly fd: number }
  /** The parent's end arrives in {@link Child.pipes}, readable or writable as named from the parent's side. */
  | { readonly kind: "pipe"; readonly parent: "reads" | "writes" }
  /** A file, opened for appending and created 0600 when missing. */
  | { readonly kind: "append"; readonly path: string };

export interface SpawnRequest {
  readonly argv: readonly [string, ...string[]];
  /** The whole environment; nothing is inherited. PATH is used to look up argv[0]. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** By descriptor number in the child; every other descriptor is closed there. 0, 1, 2 default to "null". */
  readonly fds?: Readonly<Record<number, ChildFd>>;
  /**
   * Files that the child, and what it starts, finds in place of others. It sees the system's mounts and those that these files, the
   * program and `cwd` are on, and keeps none of the others mounted.
   */
  readonly over?: readonly { readonly source: string; readonly target: string }[];
  /** Its own session, so that it outlives the engine and gets no terminal signals. */
  readonly newSession?: boolean;
}

export interface Child {
  readonly identity: ProcessIdentity;
  /** Parent's ends of `pipe` descriptors, by the child's descriptor number: raw fds that the caller now owns. */
  readonly pipes: Readonly<Record<number, number>>;
  /** Resolves when it has ended and been reaped. */
  readonly exited: Promise<ExitStatus>;
}

export interface RunRequest {
  readonly argv: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Written to stdin, which is then closed. */
  readonly input?: string | Uint8Array;
  /** Extra descriptors for the child. */
  readonly fds?: Readonly<Record<number, ChildFd>>;
  /** Milliseconds, 30 000 by default; then SIGKILL and `PROCESS_TIMEOUT`. */
  readonly timeoutMs?: number;
}

export interface RunResult {
  /** Exit code, or 128 + signal. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Processes {
  /** Starts a process by posix_spawn (cost does not grow with our memory). ENOENT is `PROGRAM_NOT_FOUND`. */
  spawn(ctx: OpContext, request: SpawnRequest): Promise<Child>;
  /** Runs a tool to its end and keeps its output. A non-zero code is not an error here. */
  run(ctx: OpContext, request: RunRequest): Promise<RunResult>;
  /** The live process with this pid; undefined when there is none or it is a zombie. */
  identify(pid: number): ProcessIdentity | undefined;
  /** Live processes of the session that `leader` made (see {@link SpawnRequest.newSession}), also when it has ended itself. */
  sessionOf(leader: number): readonly ProcessIdentity[];
  /** Live processes that have `argument` among their arguments: what names a file of ours is ours. Reads the whole of /proc. */
  withArgument(argument: string): readonly ProcessIdentity[];
  isAlive(identity: ProcessIdentity): boolean;
  /** Gone or on its way: the first process of a namespace stays until all others in it have ended and were waited for. */
  isEnding(identity: ProcessIdentity): boolean;
  /** Sends a signal through a pidfd after checking the start time; false when it is gone. */
  signal(identity: ProcessIdentity, signal: number): boolean;
  /** Resolves when a process (child or not) has ended; by pidfd, no polling. */
  waitGone(identity: ProcessIdentity, signal?: AbortSignal): Promise<void>;
  /** Absolute path of a program on PATH (with the sbin directories), or undefined. */
  which(program: string): string | undefined;
  /**
   * Path of a copy of the program at the absolute path `program`, in memory and sealed: good while the host is open, and for whatever
   * process executes it. What guards itself against being overwritten by making such a copy at each start (OCI runtimes) need not.
   */
  sealed(program: string): string;
}

/** What this machine is; read once, cheap to ask. */
export interface HostFacts {
  readonly kernelRelease: string;
  /** "x86_64", "aarch64". */
  readonly machine: string;
  /** GOARCH names, as OCI platforms use: "amd64", "arm64". */
  readonly architecture: string;
  readonly osName: string;
  readonly hostname: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly bootId: string;
  /** Bits of CapEff that this process has, by name without CAP_. */
  readonly capabilities: readonly string[];
  /** MTU of the interface with the default route; 1500 when there is none. */
  uplinkMtu(): number;
}

/** Sockets that Node's net does not have. */
export interface Sockets {
  /**
   * A client of a unix SOCK_SEQPACKET socket; the path may be longer than 107 bytes. `SOCKET_FAILED` names path and errno.
   * The kernel queues a client that the listener knows nothing of yet: with `acceptedBy`, the listener's pid, this resolves when it has
   * taken the connection, and misses nothing of what it tells all its clients from then on; ECONNRESET says that it left instead.
   */
  connectSeqpacket(ctx: OpContext, path: string, acceptedBy?: number): Promise<SeqpacketSocket>;
}

export interface SeqpacketSocket {
  /**
   * Object mode: one Uint8Array (a Buffer) for each packet, at most 64 KiB; ends when the other side has closed. Packets that
   * nobody reads stay in the kernel and hold up the sender. Destroying it closes the socket.
   */
  readonly packets: Readable;
  /** Sends one packet; resolves when the kernel has it. Sends keep their order. Rejects with `SOCKET_FAILED` (EPIPE) after the end. */
  send(bytes: Uint8Array): Promise<void>;
  /** No more sends: the other side reads an end once it has what was sent before. */
  shutdownWrite(): void;
  close(): void;
}
