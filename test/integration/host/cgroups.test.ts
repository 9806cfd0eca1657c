import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import type { Host } from "../../../src/host/host.ts";
import { unlimited } from "../../../src/schema/resources.ts";
import { cgroupDirectories } from "./cgroup-directories.ts";
import { openHost, testSuffix } from "./linux-host.ts";

const ctx = background();
const parent = `/berth-c${testSuffix}`;
const group = `${parent}/one`;
let host: Host;

beforeAll(async () => {
  host = await openHost();
  await host.cgroups.create(ctx, group);
});

afterAll(async () => {
  await host.cgroups.remove(ctx, parent);
  await host.close();
  expect(cgroupDirectories().filter((directory) => existsSync(`${directory}${parent}`))).toEqual([]);
});

describe("limits", () => {
  it("can be raised and lowered in any order", async () => {
    const MiB = 1024 * 1024;
    for (const [memory, memorySwap] of [
      [64, 128],
      [256, 512],
      [32, 64],
      [128, -1 / MiB],
      [64, 64],
    ] as const) {
      await host.cgroups.applyLimits(ctx, group, { ...unlimited, memory: memory * MiB, memorySwap: memorySwap * MiB });
      expect((await host.cgroups.usage(group)).memoryLimitBytes).toBe(memory * MiB);
    }
    await host.cgroups.applyLimits(ctx, group, { ...unlimited, memory: -1, memorySwap: -1 });
    expect((await host.cgroups.usage(group)).memoryLimitBytes).toBe(0);
  });

  it("hold: a fork beyond the pids limit fails, memory beyond it is an OOM kill", async () => {
    await host.cgroups.applyLimits(ctx, group, {
      ...unlimited,
      pidsLimit: 3,
      memory: 16 << 20,
      memorySwap: 16 << 20,
      nanoCpus: 500_000_000,
      cpusetCpus: "0",
    });
    const enter = cgroupDirectories()
      .map((directory) => `echo 0 > ${directory}${group}/cgroup.procs`)
      .join("; ");
    const run = (script: string) => host.processes.run(ctx, { argv: ["sh", "-c", `${enter}; ${script}`] });
    expect((await run("for i in 1 2 3 4; do sleep 0.2 & done; wait")).stderr).toContain("fork");
    // A shell that can't fork ends at once; what it had started still counts.
    await host.cgroups.applyLimits(ctx, group, { ...unlimited, pidsLimit: 30 });
    expect((await run("head -c 100m /dev/zero | tail; true")).code).toBe(0);
    expect(await host.cgroups.oomKills(group)).toBeGreaterThan(0);
    const usage = await host.cgroups.usage(group);
    expect(usage.oomKills).toBeGreaterThan(0);
    expect(usage.cpuTotalNs).toBeGreaterThan(1_000_000);
    expect(usage.memoryMaxBytes).toBeGreaterThan(1 << 20);
    expect(usage.pidsLimit).toBe(30);
  });

  it("that the kernel refuses are named", async () => {
    await expect(host.cgroups.applyLimits(ctx, group, { ...unlimited, cpusetCpus: "4000" })).rejects.toMatchObject({
      code: "CGROUP_LIMIT_REJECTED",
      message: expect.stringContaining("cpusetCpus=4000"),
    });
  });
});

it("reports a group that can't be removed only after having tried to kill", async () => {
  const path = `${parent}/busy`;
  await host.cgroups.create(ctx, path);
  const child = await host.processes.spawn(ctx, { argv: ["sleep", "100"], env: {} });
  for (const directory of cgroupDirectories()) {
    writeFileSync(`${directory}${path}/cgroup.procs`, String(child.identity.pid));
  }
  expect(readFileSync(`/proc/${child.identity.pid}/cgroup`, "utf8")).toContain(path);
  await host.cgroups.remove(ctx, path);
  expect(await child.exited).toEqual({ code: 0, signal: 9 });
});

it("touches nothing outside of a named group", async () => {
  for (const path of ["/", "", "relative", "/a/../b", "/a//b", "/."]) {
    await expect(host.cgroups.remove(ctx, path)).rejects.toThrow(/EINVAL/);
  }
});
