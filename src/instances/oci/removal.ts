import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { Host, ProcessIdentity } from "../../host/host.ts";
import { endSession } from "../../host/process/end-session.ts";
import { isMissing, readMonitor, removeDirectory } from "./bundle.ts";

const SIGKILL = 9;
const monitorGraceMs = 5000;

/** A container's traces, whether it was ever complete or not. */
export interface Traces {
  readonly id: string;
  readonly dir: string;
  readonly cgroupPath: string;
  /** State directories of the runtimes that may have made it. */
  readonly roots: readonly string[];
}

/**
 * Removes what is left of a container when its processes have been dealt with. What `runtime delete` would remove is the control
 * group and the state directory: done here, it saves a process.
 */
export async function removeTraces(ctx: OpContext, host: Host, { id, dir, cgroupPath, roots }: Traces): Promise<void> {
  await host.cgroups.remove(ctx, cgroupPath);
  for (const root of roots) await removeDirectory(join(root, id));
  await removeDirectory(dir);
}

/** Ends and removes a container that nobody knows: a killed engine had made it, or was about to. */
export async function removeUnknown(ctx: OpContext, host: Host, traces: Traces): Promise<void> {
  const monitor = await readMonitor(traces.dir, traces.id);
  // Before its container: it could still be making one. What the runtime has forked is in the monitor's session until it is in the
  // container's control group, and is found in one or the other.
  if (monitor !== undefined) await endSession(ctx, host.processes, monitor);
  await host.cgroups.kill(ctx, traces.cgroupPath);
  await removeTraces(ctx, host, traces);
}

/** A monitor ends by itself soon after its container; one that does not is ended. */
export async function awaitMonitor(ctx: OpContext, host: Host, monitor: ProcessIdentity): Promise<void> {
  try {
    await host.processes.waitGone(monitor, AbortSignal.any([ctx.signal, AbortSignal.timeout(monitorGraceMs)]));
  } catch (error) {
    ctx.log.warn({ pid: monitor.pid, error: messageOf(error) }, "a monitor did not end: killing it");
    host.processes.signal(monitor, SIGKILL);
    await host.processes.waitGone(monitor, ctx.signal);
  }
}

/** Names in a directory; none when it is missing. */
export async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
