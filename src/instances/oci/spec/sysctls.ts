import { ociErrors } from "../errors.ts";

export interface SysctlRequest {
  readonly sysctls: Readonly<Record<string, string>>;
  readonly domainname: string;
  /** The container has a network namespace that was made for it (not the host's or another container's). */
  readonly ownNetwork: boolean;
  readonly ownIpc: boolean;
  readonly ownUts: boolean;
}

/**
 * What is written to the container's /proc/sys: pings without CAP_NET_RAW and low ports without CAP_NET_BIND_SERVICE as in
 * Docker, the domain name, and what was asked for, which has to belong to a namespace of the container's own.
 */
export function containerSysctls(request: SysctlRequest): Readonly<Record<string, string>> {
  for (const key of Object.keys(request.sysctls)) check(key, request);
  return {
    ...(request.ownNetwork
      ? { "net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647" }
      : {}),
    ...(request.domainname !== "" && request.ownUts ? { "kernel.domainname": request.domainname } : {}),
    ...request.sysctls,
  };
}

const ipcKeys: ReadonlySet<string> = new Set([
  "kernel.msgmax",
  "kernel.msgmnb",
  "kernel.msgmni",
  "kernel.sem",
  "kernel.shmall",
  "kernel.shmmax",
  "kernel.shmmni",
  "kernel.shm_rmid_forced",
]);

function check(key: string, request: SysctlRequest): void {
  const refuse = (reason: string) => ociErrors.SYSCTL_NOT_ALLOWED({ key, reason });
  if (ipcKeys.has(key) || key.startsWith("fs.mqueue.")) {
    if (!request.ownIpc) throw refuse("the container shares its IPC namespace");
  } else if (key.startsWith("net.")) {
    if (!request.ownNetwork) throw refuse("the container shares its network namespace");
  } else if (key === "kernel.domainname") {
    if (!request.ownUts) throw refuse("the container shares its UTS namespace");
  } else {
    throw refuse("it would change the host");
  }
}
