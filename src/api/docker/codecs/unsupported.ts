import type { DockerContainerConfig, DockerHostConfig } from "../../../schema/docker/container.ts";
import type { SystemFacts } from "../backend.ts";
import { apiErrors } from "../errors.ts";

/** Fields that Docker knows and Berth has nothing for. Set to anything but their empty value, they are refused by name. */
const unsupported: readonly { readonly field: keyof DockerHostConfig; readonly hint?: string }[] = [
  { field: "CgroupParent", hint: "each engine keeps its containers under a control group of its own" },
  { field: "CpuRealtimePeriod" },
  { field: "CpuRealtimeRuntime" },
  { field: "DeviceRequests", hint: "name the device nodes with Devices" },
  { field: "KernelMemory", hint: "Linux no longer has this limit" },
  { field: "KernelMemoryTCP" },
  { field: "CpuCount", hint: "it is for Windows; use NanoCpus" },
  { field: "CpuPercent", hint: "it is for Windows; use NanoCpus" },
  { field: "IOMaximumIOps", hint: "it is for Windows; use BlkioDeviceReadIOps and BlkioDeviceWriteIOps" },
  { field: "IOMaximumBandwidth", hint: "it is for Windows; use BlkioDeviceReadBps and BlkioDeviceWriteBps" },
  { field: "Capabilities", hint: "use CapAdd and CapDrop" },
  { field: "Cgroup" },
  { field: "StorageOpt" },
];

/** The runtime that `--runtime` names for a virtual machine. */
export const machineRuntime = "vm";

/** Throws for the first field of a create or update request that can't be honoured. */
export function refuseUnsupported(host: DockerHostConfig, config: DockerContainerConfig, facts: SystemFacts): void {
  for (const { field, hint } of unsupported) {
    if (isEmpty(host[field])) continue;
    throw apiErrors.API_UNSUPPORTED({ what: `HostConfig.${field}`, ...(hint === undefined ? {} : { hint }) });
  }
  const isolation = host.Isolation ?? "";
  if (isolation !== "" && isolation !== "default") {
    throw apiErrors.API_BAD_REQUEST({
      message: `invalid isolation (${isolation}): linux only supports 'default'`,
    });
  }
  const runtime = host.Runtime ?? "";
  if (runtime !== "" && runtime !== facts.runtime && runtime !== machineRuntime) {
    throw apiErrors.API_BAD_REQUEST({
      message: `unknown or invalid runtime name: ${runtime}`,
    });
  }
  if (config.ArgsEscaped === true) throw apiErrors.API_UNSUPPORTED({ what: "ArgsEscaped", hint: "it is for Windows" });
}

/** In Docker's words. */
export function volumeDriverMissing(driver: string, prefix = "") {
  return apiErrors.API_NOT_FOUND({
    message: `${prefix}error looking up volume plugin ${driver}: plugin "${driver}" not found`,
  });
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === "" || value === 0 || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
