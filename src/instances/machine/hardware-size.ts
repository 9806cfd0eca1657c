/** How much of the host a whole-OS machine takes: pure, for the driver and for what is reserved. */
import type { MachineSpec } from "../../schema/machine.ts";
import type { ResourceSpec } from "../../schema/resources.ts";
import { machineMemory } from "../qemu/machine-size.ts";

const MiB = 1024 * 1024;
/** QEMU's cache of translated code under emulation. */
export const translationBufferMiB = 192;
/** Beside the guest's memory: QEMU with its screen's, the translated code, the firmware, berth-vmm, swtpm. */
export const hardwareOverhead = 352 * MiB;

/** What its disks may come to grow to. A seed or another read-only disk takes no more than it has. */
export function virtualDiskBytes({ disks }: Pick<MachineSpec, "disks">): number {
  return disks.reduce((sum, { size, readOnly }) => sum + (readOnly ? 0 : size), 0);
}

/** The limits of the control group around a machine: the instance's own, with room for what runs it. */
export function hardwareResources(resources: ResourceSpec): ResourceSpec {
  const { memoryReservation, memorySwap } = resources;
  return {
    ...resources,
    memory: machineMemory(resources) + hardwareOverhead,
    memoryReservation: memoryReservation > 0 ? memoryReservation + hardwareOverhead : 0,
    memorySwap: memorySwap > 0 ? memorySwap + hardwareOverhead : memorySwap,
    pidsLimit: 0,
  };
}
