/** How large a machine is made from what an instance may use: pure, for the driver and for what is reserved of this host. */
import type { ResourceSpec } from "../../schema/resources.ts";

const MiB = 1024 * 1024;
/** Of a machine whose memory is not limited: a guest has to have some size. Only what it touches is taken from the host. */
const defaultMemory = 512 * MiB;
/** Of its memory, what the guest's kernel and its agent take. */
const kernelMemory = 64 * MiB;
/** Below it the guest's kernel does not boot. */
const minimumMemory = 80 * MiB;
/** Beside what the instance may use: the guest's kernel, QEMU itself, berth-vmm, and the code that emulation keeps. */
export const memoryOverhead = 192 * MiB + kernelMemory;
/** Of a machine in which only files are read and written. */
export const restingMemory = 128 * MiB;
const defaultPeriod = 100_000;

/** Bytes of memory of the guest, in whole MiB. */
export function machineMemory({ memory }: Pick<ResourceSpec, "memory">): number {
  return memory > 0 ? Math.floor(memory / MiB) * MiB : defaultMemory;
}

/**
 * Bytes of memory that the guest of an OCI image has, in whole MiB: a limit is the workload's, in a control group of the guest's, as a
 * container's is in one of the host's. No more than it needs: what a guest has once touched stays taken from the host.
 */
export function guestMemory({ memory }: Pick<ResourceSpec, "memory">): number {
  return memory > 0 ? Math.max(minimumMemory, Math.ceil((memory + kernelMemory) / MiB) * MiB) : defaultMemory;
}

/** Processors of the guest: enough for what it may use of the host's time, one when that is not limited. */
export function machineCpus(
  { nanoCpus, cpuQuota, cpuPeriod }: Pick<ResourceSpec, "nanoCpus" | "cpuQuota" | "cpuPeriod">,
  hostCpus: number,
): number {
  const wanted = nanoCpus > 0 ? nanoCpus / 1e9 : cpuQuota > 0 ? cpuQuota / (cpuPeriod || defaultPeriod) : 1;
  return Math.min(Math.max(1, Math.ceil(wanted)), hostCpus);
}

/** The limits of the control group around a machine: the instance's own, with room for what runs it. */
export function jailResources(resources: ResourceSpec): ResourceSpec {
  const memory = machineMemory(resources) + memoryOverhead;
  const { memorySwap } = resources;
  return {
    ...resources,
    memory,
    memoryReservation: resources.memoryReservation > 0 ? resources.memoryReservation + memoryOverhead : 0,
    memorySwap: memorySwap > 0 ? memorySwap + memoryOverhead : memorySwap,
    pidsLimit: 0,
  };
}
