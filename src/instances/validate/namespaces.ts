import type { InstanceRequest } from "../instance-service.ts";
import type { InstanceRecord } from "../../schema/instance.ts";
import { invalid } from "./invalid.ts";

export interface NamespaceTargets {
  /** An instance by name or id; throws `INSTANCE_NOT_FOUND`. */
  resolve(nameOrId: string): InstanceRecord;
}

const words = {
  pid: { label: "PID", allowed: ["", "private", "host"], joins: true },
  ipc: { label: "IPC", allowed: ["", "private", "host", "shareable", "none"], joins: true },
  uts: { label: "UTS", allowed: ["", "private", "host"], joins: false },
  cgroup: { label: "cgroup namespace", allowed: ["", "private", "host"], joins: false },
  user: { label: "user namespace", allowed: ["", "host"], joins: false },
} as const;

export function validateNamespaces(request: InstanceRequest, targets: NamespaceTargets): void {
  for (const kind of ["pid", "ipc", "uts", "cgroup", "user"] as const) {
    const mode = request.namespaces[kind];
    const { label, allowed, joins } = words[kind];
    if ((allowed as readonly string[]).includes(mode)) continue;
    const other = joins ? joinedInstance(mode) : undefined;
    if (other === undefined) throw invalid(`invalid ${label} mode: ${mode}`);
    targets.resolve(other);
  }
  if (request.namespaces.uts === "host" && request.hostname !== "") {
    throw invalid("conflicting options: hostname and the UTS mode");
  }
}

/** Name or id behind "container:"; undefined for other modes. */
export function joinedInstance(mode: string): string | undefined {
  const name = /^container:(.+)$/.exec(mode)?.[1];
  return name;
}
