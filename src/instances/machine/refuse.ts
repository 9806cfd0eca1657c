import type { Host } from "../../host/host.ts";
import type { InstanceSpec } from "../../schema/instance.ts";
import { machineMemory } from "../qemu/machine-size.ts";
import { hardwareErrors } from "./errors.ts";
import { hasUefi } from "./uefi.ts";

type Refusal = readonly [what: string, why: string, applies: (spec: InstanceSpec) => boolean];

const ofItsOwn = "it is an operating system of its own";
/** Devices behind ports of their own; PCI has no more places. */
const maxDevices = 16;
const minimumMemory = 16 * 1024 ** 2;

const refusals: readonly Refusal[] = [
  ["binds, volumes and tmpfs", "its file systems are on its disks", ({ mounts }) => mounts.length > 0],
  ["devices of the host", "they are not handed through", ({ devices }) => devices.length > 0],
  ["an image's process, or an init", ofItsOwn, ({ process }) => process.init],
  ["a health check", "Berth does not run commands in it by itself", ({ healthcheck }) => healthcheck !== null],
  ["the host's network", ofItsOwn, ({ network }) => network.mode === "host"],
  ["another instance's network", ofItsOwn, ({ network }) => network.mode.startsWith("container:")],
  [
    `more than ${maxDevices} disks and network cards`,
    "there are no more ports",
    ({ machine }) => (machine?.disks.length ?? 0) + (machine?.nics.length ?? 0) > maxDevices,
  ],
  [
    "two network cards on one network",
    "an instance is on a network once",
    ({ machine }) => {
      const networks = machine?.nics.map(({ network }) => network) ?? [];
      return new Set(networks).size < networks.length;
    },
  ],
  [
    `less than ${minimumMemory / 1024 ** 2} MiB of memory`,
    "no firmware comes up in it",
    ({ resources }) => machineMemory(resources) < minimumMemory,
  ],
  ["more than 8 network cards", "there are no more taps", ({ machine }) => (machine?.nics.length ?? 0) > 8],
];

/** `HARDWARE_UNSUPPORTED` or `HARDWARE_UNAVAILABLE` for the first thing that a machine can't have (on this host). */
export function refuseHardware(spec: InstanceSpec, { host }: { readonly host: Pick<Host, "processes"> }): void {
  for (const [what, why, applies] of refusals) {
    if (applies(spec)) throw hardwareErrors.HARDWARE_UNSUPPORTED({ what, why });
  }
  if (spec.machine?.firmware === "uefi" && !hasUefi()) {
    throw hardwareErrors.HARDWARE_UNAVAILABLE({ what: "UEFI", program: "OVMF" });
  }
  if (spec.machine?.tpm === true && host.processes.which("swtpm") === undefined) {
    throw hardwareErrors.HARDWARE_UNAVAILABLE({ what: "a TPM", program: "swtpm" });
  }
}
