import type { InstanceSpec } from "../../schema/instance.ts";
import type { PrepareRequest } from "../driver.ts";

/** What a manager hands to a driver for `spec`, with private namespaces and no log; `dir` is the instance's run directory. */
export function prepareRequest(id: string, spec: InstanceSpec, dir: string): PrepareRequest {
  return {
    id,
    spec,
    dir,
    dataDir: `${dir}/data`,
    chainId: "",
    rootfs: `${dir}/rootfs`,
    mounts: [],
    hostname: id.slice(0, 12),
    namespaces: { network: "private", pid: "private", ipc: "private", uts: "private", cgroup: "host" },
    interfaces: [],
    endpoints: [],
    cgroupPath: `/berth-test/${id}`,
    logPath: "",
  };
}
