import { stat } from "node:fs/promises";
import type { InstanceRequest } from "../instance-service.ts";
import type { DeviceSpec, Ulimit } from "../../schema/instance.ts";
import { invalid } from "./invalid.ts";

export async function validateSecurity(request: InstanceRequest): Promise<void> {
  validateCapabilities("CapAdd", request.security.capAdd);
  validateCapabilities("CapDrop", request.security.capDrop);
  validateSeccomp(request.security.seccomp);
  for (const limit of request.ulimits) validateUlimit(limit);
  for (const [key, value] of Object.entries(request.sysctls)) validateSysctl(request, key, value);
  for (const device of request.devices) await validateDevice(device);
  for (const rule of request.deviceCgroupRules) {
    if (!/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(rule)) {
      throw invalid(`invalid device cgroup rule format: '${rule}'`);
    }
  }
  for (const paths of [request.security.maskedPaths, request.security.readonlyPaths]) {
    for (const path of paths ?? []) {
      if (!path.startsWith("/")) throw invalid(`invalid path '${path}': masked and read-only paths are absolute`);
    }
  }
  for (const group of request.process.groupAdd) {
    if (group === "" || /[\s:\0]/.test(group)) throw invalid(`invalid group "${group}"`);
  }
}

/** capabilities(7), up to Linux 5.9's CHECKPOINT_RESTORE. */
const capabilities = new Set(
  [
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER",
    "FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE",
    "NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE",
    "SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM",
  ].flatMap((line) => line.split(" ")),
);

function validateCapabilities(field: string, names: readonly string[]): void {
  for (const name of names) {
    const plain = name.toUpperCase().replace(/^CAP_/, "");
    if (plain !== "ALL" && !capabilities.has(plain))
      throw invalid(`invalid ${field}: unknown capability: "CAP_${plain}"`);
  }
}

function validateSeccomp(profile: string): void {
  if (profile === "" || profile === "default" || profile === "unconfined" || profile === "builtin") return;
  try {
    const parsed: unknown = JSON.parse(profile);
    if (typeof parsed === "object" && parsed !== null && "defaultAction" in parsed) return;
  } catch (error) {
    throw invalid(`Decoding seccomp profile failed: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw invalid("Decoding seccomp profile failed: it has no defaultAction");
}

const ulimitNames = new Set(
  "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(" "),
);

export function validateUlimit({ name, soft, hard }: Ulimit): void {
  if (!ulimitNames.has(name)) throw invalid(`invalid ulimit type: ${name}`);
  const value = (limit: number) => (limit === -1 ? Number.POSITIVE_INFINITY : limit);
  if (soft < -1 || hard < -1) throw invalid(`invalid ulimit ${name}: give a number, or -1 for unlimited`);
  if (value(soft) > value(hard)) {
    throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
  }
}

/** Sysctls that a namespace keeps to itself (namespaces(7)); others would change the host. */
const ipcSysctls = new Set(
  "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni kernel.shm_rmid_forced".split(
    " ",
  ),
);

function validateSysctl(request: InstanceRequest, key: string, value: string): void {
  if (/[\0\n]/.test(value)) throw invalid(`invalid value of sysctl '${key}'`);
  const ofNetwork = key.startsWith("net.");
  const ofIpc = ipcSysctls.has(key) || key.startsWith("fs.mqueue.");
  const ofUts = key === "kernel.hostname" || key === "kernel.domainname";
  if (!ofNetwork && !ofIpc && !ofUts) throw invalid(`sysctl '${key}' is not allowed`);
  if (key.includes("/") || key.split(".").some((part) => part === "")) throw invalid(`sysctl '${key}' is not allowed`);
  if (ofNetwork && request.network.mode === "host") {
    throw invalid(`sysctl '${key}' not allowed in host network namespace`);
  }
  if (ofIpc && request.namespaces.ipc === "host") throw invalid(`sysctl '${key}' not allowed in host ipc namespace`);
  if (ofUts && request.namespaces.uts === "host") throw invalid(`sysctl '${key}' not allowed in host UTS namespace`);
}

async function validateDevice({ pathOnHost, pathInContainer, permissions }: DeviceSpec): Promise<void> {
  if (!/^[rwm]{1,3}$/.test(permissions)) throw invalid(`invalid device mode: ${permissions}`);
  if (pathInContainer !== "" && !pathInContainer.startsWith("/")) {
    throw invalid(`invalid device path in the container: ${pathInContainer}`);
  }
  const found = await stat(pathOnHost).catch(() => undefined);
  if (found === undefined) {
    throw invalid(
      `error gathering device information while adding custom device "${pathOnHost}": no such file or directory`,
    );
  }
  if (!found.isCharacterDevice() && !found.isBlockDevice() && !found.isDirectory()) {
    throw invalid(`error gathering device information while adding custom device "${pathOnHost}": not a device node`);
  }
}
