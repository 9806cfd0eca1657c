/** What the kernel worker can be asked: the types of both ends of its message channel. */
import type { CgroupCalls } from "../cgroups/cgroup-calls.ts";
import type { LinkInfo, MountEntry, SeccompFilter } from "../host.ts";
import type { KernelOp } from "../kernel-ops.ts";
import type { SpawnPlan } from "../process/posix-spawn.ts";
import type { FileOver } from "./private-mounts.ts";
import type { WorkerFailure } from "./worker-failure.ts";

export interface WorkerCalls extends CgroupCalls {
  /** Does `ops` in order; stops before the first that needs the nft program, which the caller then runs. */
  apply(ops: readonly KernelOp[]): NftHandOver | undefined;
  mounts(prefix: string): readonly MountEntry[];
  links(netns: string | undefined): readonly LinkInfo[];
  readInRoot(root: string, path: string, maxBytes: number): Uint8Array | undefined;
  getXattr(path: string, name: string): Uint8Array | undefined;
  listXattrs(path: string): readonly string[];
  /** A descriptor of the namespace. */
  openPrivateMounts(files: readonly FileOver[]): number;
  spawnOver(files: readonly FileOver[], plan: SpawnPlan): { readonly pid: number; readonly errno: number };
  compileSeccomp(filter: SeccompFilter): Uint8Array | undefined;
}

/** An operation that the worker leaves to nft(8): its place in the batch, and scripts to run one by one. */
export interface NftHandOver {
  readonly index: number;
  readonly scripts: readonly string[];
  /** A script that fails because the element is not there is no error. */
  readonly missingIsFine: boolean;
}

export interface WorkerRequest {
  readonly id: number;
  readonly call: keyof WorkerCalls;
  readonly args: readonly unknown[];
}

export type WorkerReply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: WorkerFailure };
