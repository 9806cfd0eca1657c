import type { CgroupSample } from "../cgroup.ts";
import type { ResourceSpec, ResourceUsage } from "../../schema/resources.ts";

/** Text of a file without the final newline; undefined when it is not there. */
export type ReadFile = (path: string) => string | undefined;

/**
 * Control groups of one kernel interface version, as synchronous file operations: for the kernel worker's thread.
 * Nothing here waits; what takes time (freezing, dying) is asked again by the caller.
 */
export interface CgroupTree {
  create(path: string): void;
  enter(path: string, pid: number): void;
  applyLimits(path: string, resources: ResourceSpec): void;
  usage(path: string): ResourceUsage;
  /** Undefined when it is gone. As few files as can be, read by `read`: it is asked for hundreds of groups each second. */
  sample(path: string, read: ReadFile): CgroupSample | undefined;
  processes(path: string): readonly number[];
  setFrozen(path: string, frozen: boolean): void;
  isFrozen(path: string): boolean;
  oomKills(path: string): number;
  /** Sends SIGKILL to what is in it now. */
  kill(path: string): void;
  /** False while processes still are in it. Missing is no error. */
  remove(path: string): boolean;
  children(parent: string): readonly string[];
}
