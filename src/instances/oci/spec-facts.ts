import { readFileSync } from "node:fs";
import type { OpContext } from "../../base/op-context.ts";
import type { Host } from "../../host/host.ts";
import type { PrepareRequest } from "../driver.ts";
import { ociErrors } from "./errors.ts";
import { blockDevices, grantedDevices } from "./host-devices.ts";
import { requirePropagation } from "./mount-sharing.ts";
import { parseHardLimits } from "./spec/process-limits.ts";
import { type SpecFacts, wantsInit } from "./spec/runtime-spec.ts";

/** What does not change while the engine runs. */
export type StaticFacts = Pick<SpecFacts, "capabilities" | "limits" | "swapLimit" | "recursiveReadOnly" | "seccomp">;

/** Files of a root file system that name users are a few kilobytes; more is not read. */
const maxUserFile = 1024 * 1024;

export function staticFacts(host: Host): StaticFacts {
  const { facts } = host;
  const [major = 0, minor = 0] = facts.kernelRelease.split(/[.-]/).map(Number);
  return {
    capabilities: facts.capabilities,
    limits: {
      maySetAny: facts.capabilities.includes("SYS_RESOURCE"),
      hard: parseHardLimits(readFileSync("/proc/self/limits", "utf8")),
      oomScoreAdj: Number(readFileSync("/proc/self/oom_score_adj", "utf8")),
    },
    swapLimit: host.cgroups.features.swapLimit,
    // mount_setattr(2), since Linux 5.12.
    recursiveReadOnly: major > 5 || (major === 5 && minor >= 12),
    seccomp: { architecture: facts.architecture, kernelRelease: facts.kernelRelease },
  };
}

/** Reads what an instance's specification depends on, and refuses what this host can't do. */
export async function specFacts(
  ctx: OpContext,
  host: Host,
  request: PrepareRequest,
  known: StaticFacts,
): Promise<SpecFacts> {
  const { spec, rootfs } = request;
  await requirePropagation(request.mounts);
  const [passwd, group, devices, block] = await Promise.all([
    textInRoot(host, rootfs, "/etc/passwd"),
    textInRoot(host, rootfs, "/etc/group"),
    grantedDevices(spec.devices, spec.security.privileged),
    blockDevices(spec.resources),
  ]);
  ctx.signal.throwIfAborted();
  const init = wantsInit(spec, request.namespaces.pid) ? initProgram(host) : undefined;
  return { ...known, passwd, group, devices, blockDevices: block, ...(init === undefined ? {} : { init }) };
}

/** Text of a file in the root file system, "" when there is none. */
export async function textInRoot(host: Host, rootfs: string, path: string): Promise<string> {
  const bytes = await host.kernel.readInRoot(rootfs, path, maxUserFile);
  return bytes === undefined ? "" : Buffer.from(bytes).toString();
}

function initProgram(host: Host): string {
  for (const program of ["docker-init", "tini-static", "catatonit"]) {
    const path = host.processes.which(program);
    if (path !== undefined) return path;
  }
  throw ociErrors.INIT_MISSING({});
}
