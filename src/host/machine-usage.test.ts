import { expect, it } from "vitest";
import { busyNs, readMachineUsage, readPidTotal, usedMemory } from "./machine-usage.ts";

it("counts what the CPUs did, not what they waited for", () => {
  expect(busyNs("cpu  100 20 30 9999 888 5 6 7 0 0\ncpu0 1 1 1 1\n")).toBe(168 * 10_000_000);
});

it("takes for used what is not available", () => {
  expect(usedMemory("MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:    600 kB\n")).toBe(400 * 1024);
});

it("reads this machine", async () => {
  const { cpuBusyNs, memoryBytes, pids } = await readMachineUsage();
  expect(cpuBusyNs).toBeGreaterThan(0);
  expect(memoryBytes).toBeGreaterThan(1024 * 1024);
  expect(pids).toBeGreaterThan(1);
  expect(await readPidTotal()).toBeGreaterThan(pids);
});
