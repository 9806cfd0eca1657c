import { join } from "node:path";
import type { OpContext } from "../base/op-context.ts";
import type { Reverter } from "../base/reverter.ts";
import { mkdir } from "../host/files.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { PrepareRequest, ResolvedMount } from "./driver.ts";
import { instanceErrors } from "./errors.ts";
import type { NetworkFiles } from "./mounts.ts";
import { type Parts, runDir } from "./parts.ts";
import { isActive, resolveInstance } from "./resolve.ts";
import { joinedInstance } from "./validate/namespaces.ts";

type Namespaces = PrepareRequest["namespaces"];

/** Network of an instance: its own sandbox's, the host's, or that of another instance. */
export interface NetworkPlace {
  /** Path of a namespace, or "host". */
  readonly namespace: string;
  readonly files: NetworkFiles | undefined;
}

/** The place in the network of the instance that `mode` ("container:<id>") names, which may itself share another's. */
export function joinedNetwork(parts: Parts, mode: string): NetworkPlace {
  const other = requireRunning(parts, mode, "network");
  if (joinedInstance(other.spec.network.mode) !== undefined) return joinedNetwork(parts, other.spec.network.mode);
  const sandbox = parts.networks.sandbox(other.id);
  if (sandbox === undefined) throw instanceErrors.NAMESPACE_OF_STOPPED({ kind: "network", name: other.name });
  return { namespace: sandbox.mode === "host" ? "host" : sandbox.netnsPath, files: sandbox };
}

/** Namespaces other than the network's, in the driver's words. */
export function resolveNamespaces(parts: Parts, { spec }: InstanceRecord): Omit<Namespaces, "network"> {
  const { pid, ipc, uts, cgroup } = spec.namespaces;
  return {
    pid:
      joinedInstance(pid) === undefined
        ? ownOrHost(pid)
        : `/proc/${requireRunning(parts, pid, "PID").state.pid}/ns/pid`,
    ipc: joinedInstance(ipc) === undefined ? ownOrHost(ipc) : `/proc/${requireShareable(parts, ipc).state.pid}/ns/ipc`,
    uts: ownOrHost(uts),
    cgroup: cgroupNamespace(parts, cgroup),
  };
}

/**
 * The /dev/shm of an instance that shares it: a tmpfs on the host for "shareable", that of the other for "container:<id>",
 * the host's for "host". Undefined when the driver's own will do.
 */
export async function sharedMemoryMount(
  parts: Parts,
  ctx: OpContext,
  { id, spec }: InstanceRecord,
  reverter: Reverter,
): Promise<ResolvedMount | undefined> {
  const bind = (source: string): ResolvedMount => ({
    type: "bind",
    source,
    target: "/dev/shm",
    options: ["rbind", "rprivate"],
  });
  const { ipc } = spec.namespaces;
  if (spec.mounts.some((mount) => mount.target === "/dev/shm")) return undefined;
  if (ipc === "host") return bind("/dev/shm");
  if (joinedInstance(ipc) !== undefined) {
    const other = requireShareable(parts, ipc);
    return bind(other.spec.namespaces.ipc === "host" ? "/dev/shm" : sharedMemoryDir(parts, other.id));
  }
  if (ipc !== "shareable") return undefined;
  const target = sharedMemoryDir(parts, id);
  await mkdir(target, { recursive: true, mode: 0o700 });
  const size = spec.shmSize === 0 ? 64 * 1024 * 1024 : spec.shmSize;
  await parts.host.kernel.apply(ctx, [
    {
      op: "mount",
      source: "shm",
      target,
      fstype: "tmpfs",
      flags: ["nosuid", "nodev", "noexec"],
      data: `mode=1777,size=${size}`,
    },
  ]);
  reverter.add("unmount the shared memory", (ctx) => unmountSharedMemory(parts, ctx, id));
  return bind(target);
}

export async function unmountSharedMemory(parts: Parts, ctx: OpContext, id: string): Promise<void> {
  await parts.host.kernel.apply(ctx, [{ op: "unmount", target: sharedMemoryDir(parts, id), detach: true }]);
}

function sharedMemoryDir(parts: Parts, id: string): string {
  return join(runDir(parts, id), "shm");
}

function ownOrHost(mode: string): string {
  return mode === "host" ? "host" : "private";
}

/** Docker's default: the host's on cgroup v1, a private one on v2. */
function cgroupNamespace(parts: Parts, mode: string): string {
  if (mode !== "") return ownOrHost(mode);
  return parts.host.cgroups.mode === "v2" ? "private" : "host";
}

function requireRunning(parts: Parts, mode: string, kind: string): InstanceRecord {
  const other = resolveInstance(parts.records, joinedInstance(mode) ?? "");
  if (!isActive(other) || other.state.pid === 0) {
    throw instanceErrors.NAMESPACE_OF_STOPPED({ kind, name: other.name });
  }
  if (other.spec.isolation === "vm") throw instanceErrors.NAMESPACE_OF_MACHINE({ kind, name: other.name });
  return other;
}

function requireShareable(parts: Parts, mode: string): InstanceRecord {
  const other = requireRunning(parts, mode, "IPC");
  if (other.spec.namespaces.ipc !== "shareable" && other.spec.namespaces.ipc !== "host") {
    throw instanceErrors.IPC_NOT_SHAREABLE({ name: other.name });
  }
  return other;
}
