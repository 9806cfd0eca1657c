/** Entry of the kernel worker: a thread that does blocking system calls and visits other namespaces. */
import { parentPort } from "node:worker_threads";
import { cgroupCalls } from "../cgroups/cgroup-calls.ts";
import { listLinks } from "../netlink/links.ts";
import { applyOps } from "./apply-ops.ts";
import { readInRoot } from "./confined-read.ts";
import { listMounts } from "./mounts.ts";
import { NamespaceLostError } from "./netns.ts";
import { openPrivateMounts, spawnOver } from "./private-mounts.ts";
import { compileSeccomp } from "./seccomp-compiler.ts";
import type { WorkerCalls, WorkerReply, WorkerRequest } from "./worker-calls.ts";
import { named, toFailure } from "./worker-failure.ts";
import { getXattr, listXattrs } from "./xattrs.ts";

const calls: WorkerCalls = {
  apply: applyOps,
  mounts: listMounts,
  links: listLinks,
  readInRoot,
  getXattr,
  listXattrs,
  openPrivateMounts,
  spawnOver,
  compileSeccomp: (filter) => named("compile", "seccomp filter", () => compileSeccomp(filter)),
  ...cgroupCalls,
};

const port = parentPort;
if (port === null) throw new Error("the kernel worker is not a program of its own");
port.on("message", (request: WorkerRequest | undefined) => {
  // The end: what was asked before has been done.
  if (request === undefined) port.close();
  else port.postMessage(answer(request));
});

function answer(request: WorkerRequest): WorkerReply {
  try {
    const call = calls[request.call] as (...args: readonly unknown[]) => unknown;
    return { id: request.id, value: call(...request.args) };
  } catch (error) {
    // A thread that is stuck in another namespace must not serve any further: let it crash.
    if (error instanceof NamespaceLostError) throw error;
    return { id: request.id, failure: toFailure(error) };
  }
}
