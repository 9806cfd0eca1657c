import type { OpContext } from "../../base/op-context.ts";
import type { CheckContext, Finding } from "../checks.ts";
import { error, ok, warning } from "./finding.ts";

const needed = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "MKNOD",
  "NET_ADMIN",
  "SETFCAP",
  "SETGID",
  "SETUID",
  "SYS_ADMIN",
  "SYS_CHROOT",
];

export function checkPrivileges(_ctx: OpContext, { host }: CheckContext): Finding {
  if (process.geteuid?.() !== 0) return error(`running as user ${process.geteuid?.()}`, "Run the engine as root");
  const missing = needed.filter((name) => !host.facts.capabilities.includes(name));
  if (missing.length > 0) {
    return error(
      `root without the capabilities ${missing.join(", ")}`,
      "Run the engine on the machine itself, or in a container with --privileged",
    );
  }
  if (!host.facts.capabilities.includes("SYS_RESOURCE")) {
    return warning(
      "root without SYS_RESOURCE: resource limits can't be raised past the engine's own, nor OOM scores lowered",
      "Keep --ulimit values of containers at or below the machine's hard limits",
    );
  }
  return ok(`root with ${host.facts.capabilities.length} capabilities`);
}

/** mount_setattr(2) is the newest system call that is used without a substitute. */
const oldest = { major: 5, minor: 12 };

export function checkKernelVersion(_ctx: OpContext, { host }: CheckContext): Finding {
  const release = host.facts.kernelRelease;
  const [major = 0, minor = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
  const isOld = major < oldest.major || (major === oldest.major && minor < oldest.minor);
  return isOld
    ? error(`Linux ${release}`, `Use a kernel of version ${oldest.major}.${oldest.minor} or newer`)
    : ok(`Linux ${release}`);
}

export function checkCgroups(_ctx: OpContext, { host }: CheckContext): Finding {
  const { mode, controllers } = host.cgroups;
  const detail = `cgroup ${mode}, controllers ${controllers.join(", ") || "none"}`;
  if (controllers.length === 0) return error(detail, "Mount the control groups (cgroup2 at /sys/fs/cgroup)");
  const io = mode === "v2" ? "io" : "blkio";
  const wanted = ["cpu", "cpuset", "memory", "pids", io, ...(mode === "v2" ? [] : ["devices", "freezer"])];
  const missing = wanted.filter((name) => !controllers.includes(name));
  if (missing.length > 0) {
    return warning(
      `${detail}; without ${missing.join(", ")}`,
      "Limits of these kinds will be refused. Enable them on the kernel's command line (cgroup_enable=memory)",
    );
  }
  if (!host.cgroups.features.swapLimit) {
    return warning(`${detail}; swap is not accounted for`, "Boot with swapaccount=1 to limit swap");
  }
  return ok(detail);
}
