import type { InstanceSpec } from "../../schema/instance.ts";
import { machineErrors } from "./errors.ts";

type Check = (spec: InstanceSpec) => string | undefined;
const ofItsOwn = "a machine has a kernel, and with it all namespaces, of its own";
const noDevices = "devices of the host are not handed through yet";

/** What a machine can't have (yet), and why. */
const checks: readonly (readonly [what: string, check: Check])[] = [
  [
    "a bind with shared propagation",
    ({ mounts }) =>
      mounts.some((mount) => mount.type === "bind" && /^r?shared$/.test(mount.propagation))
        ? "what its guest mounts can't appear on the host"
        : undefined,
  ],
  [
    "devices",
    ({ devices, deviceCgroupRules }) => (devices.length + deviceCgroupRules.length > 0 ? noDevices : undefined),
  ],
  ["the host's network", ({ network }) => (network.mode === "host" ? ofItsOwn : undefined)],
  ["another instance's network", ({ network }) => (network.mode.startsWith("container:") ? ofItsOwn : undefined)],
  [
    "a namespace of the host or of another instance",
    ({ namespaces }) =>
      [namespaces.pid, namespaces.ipc, namespaces.uts].some((mode) => mode === "host" || mode.startsWith("container:"))
        ? ofItsOwn
        : undefined,
  ],
  ["an IPC namespace that others join", ({ namespaces }) => (namespaces.ipc === "shareable" ? ofItsOwn : undefined)],
  [
    "a seccomp profile",
    ({ security }) =>
      security.seccomp === "default" || security.seccomp === "unconfined"
        ? undefined
        : "the guest's kernel has no filter",
  ],
];

/** `MACHINE_UNSUPPORTED` for the first thing that a machine can't have. */
export function refuseUnsupported(spec: InstanceSpec): void {
  for (const [what, check] of checks) {
    const why = check(spec);
    if (why !== undefined) throw machineErrors.MACHINE_UNSUPPORTED({ what, why });
  }
}
