import type { OpContext } from "../../base/op-context.ts";
import type { Reverter } from "../../base/reverter.ts";
import type { MountSpec } from "../../schema/instance.ts";
import type { CacheRequest } from "./cache-directories.ts";

/** A mount of a step, as far as it is known before the step runs. */
export interface PlannedMount {
  /** Where it goes, absolute; "" for none. */
  readonly target: string;
  /** Everything that the step's result depends on: a part of history, and so of the cache's key. */
  readonly comment: string;
  /** The directory that it needs a lease of. */
  readonly cache?: CacheRequest;
  /** Makes it ready; `closing` says how it is taken away after the step. `cacheDirectory` is the leased one. */
  open(ctx: OpContext, closing: Reverter, cacheDirectory: string): Promise<ReadyMount>;
}

/** What the step's container gets. */
export interface ReadyMount {
  readonly mounts?: readonly MountSpec[];
  /** "NAME=value". */
  readonly env?: readonly string[];
  /** Likewise, and never written down. */
  readonly secretEnv?: readonly string[];
}

export function bindOf(source: string, target: string, readOnly: boolean): MountSpec {
  return { type: "bind", source, target, readOnly, propagation: "rprivate", createSource: false };
}
