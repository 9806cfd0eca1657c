import { describe, expect, it } from "vitest";
import { unlimited } from "../../schema/resources.ts";
import { guestMemory, jailResources, machineCpus, machineMemory, memoryOverhead } from "./machine-size.ts";

const MiB = 1024 * 1024;

describe("a machine's size", () => {
  it("is the instance's limit of memory in whole MiB, else a default", () => {
    expect(machineMemory({ memory: 100 * MiB + 5 })).toBe(100 * MiB);
    expect(machineMemory({ memory: 0 })).toBe(512 * MiB);
  });

  it("is what its workload may use and the kernel's own, and what the kernel needs to boot", () => {
    expect(guestMemory({ memory: 0 })).toBe(512 * MiB);
    expect(guestMemory({ memory: 6 * MiB })).toBe(80 * MiB);
    expect(guestMemory({ memory: 1000 * MiB + 5 })).toBe(1065 * MiB);
  });

  it("is the processors that its share of time needs, and no more than there are", () => {
    const cpus = (change: Partial<typeof unlimited>) => machineCpus({ ...unlimited, ...change }, 4);
    expect(cpus({})).toBe(1);
    expect(cpus({ nanoCpus: 5e8 })).toBe(1);
    expect(cpus({ nanoCpus: 15e8 })).toBe(2);
    expect(cpus({ cpuQuota: 250_000 })).toBe(3);
    expect(cpus({ nanoCpus: 64e9 })).toBe(4);
  });

  it("is within a control group that has room for what runs it", () => {
    const resources = { ...unlimited, memory: 128 * MiB, memorySwap: 256 * MiB, nanoCpus: 5e8, pidsLimit: 3 };
    expect(jailResources(resources)).toMatchObject({
      memory: 128 * MiB + memoryOverhead,
      memorySwap: 256 * MiB + memoryOverhead,
      nanoCpus: 5e8,
      pidsLimit: 0,
    });
    expect(jailResources({ ...unlimited, memorySwap: -1 })).toMatchObject({
      memory: 512 * MiB + memoryOverhead,
      memorySwap: -1,
    });
  });
});
