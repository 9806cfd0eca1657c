import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ResourceSpec, unlimited } from "../../schema/resources.ts";
import { WorkerFailureError } from "../kernel/worker-failure.ts";
import { CgroupV2, weightOfBlkio, weightOfShares } from "./cgroup-v2.ts";

let root: string;
let tree: CgroupV2;
const group = "/berth-test/one";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-v2-"));
  tree = new CgroupV2({
    mode: "v2",
    controllers: new Map(["cpu", "cpuset", "io", "memory", "pids"].map((name) => [name, root])),
    unified: root,
    directories: [root],
  });
});

afterEach(() => rmSync(root, { recursive: true }));

/** The kernel makes a group's files; here the test does. */
function given(files: Readonly<Record<string, string>>, path = group): void {
  for (const [name, content] of Object.entries(files)) {
    const file = `${root}${path}/${name}`;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
}

const content = (name: string, path = group) => readFileSync(`${root}${path}/${name}`, "utf8");

function rejectedLimit(resources: Partial<ResourceSpec>): string | undefined {
  try {
    tree.applyLimits(group, { ...unlimited, ...resources });
  } catch (error) {
    if (error instanceof WorkerFailureError && error.failure.kind === "limit-rejected") return error.failure.limit;
    throw error;
  }
  return undefined;
}

describe("CgroupV2", () => {
  it("hands controllers down on the way to the group, not in the group itself", () => {
    const controllers = { "cgroup.controllers": "cpuset cpu io memory pids rdma\n", "cgroup.subtree_control": "cpu\n" };
    given(controllers, "");
    given({ ...controllers, "cgroup.subtree_control": "cpuset cpu io memory pids\n" }, "/berth-test");
    given({ ...controllers, "cgroup.subtree_control": "\n" });
    tree.create(group);
    expect(content("cgroup.subtree_control", "")).toBe("+cpuset +io +memory +pids");
    expect(content("cgroup.subtree_control", "/berth-test")).toBe("cpuset cpu io memory pids\n");
    expect(content("cgroup.subtree_control")).toBe("\n");
  });

  it("makes groups that are not there", () => {
    tree.create("/berth-test/new");
    expect(existsSync(`${root}/berth-test/new`)).toBe(true);
    expect(tree.children("/berth-test")).toEqual(["new"]);
  });

  it("writes limits in v2's own terms", () => {
    given({
      "memory.max": "max",
      "memory.swap.max": "max",
      "memory.low": "0",
      "cpu.weight": "100",
      "cpu.max": "max 100000",
      "cpuset.cpus": "",
      "pids.max": "max",
      "io.weight": "default 100",
    });
    tree.applyLimits(group, {
      ...unlimited,
      memory: 1000,
      memorySwap: 1500,
      memoryReservation: 500,
      cpuShares: 1024,
      cpuQuota: 50_000,
      cpuPeriod: 200_000,
      cpusetCpus: "0-1",
      pidsLimit: 20,
      blkioWeight: 1000,
    });
    expect(content("memory.max")).toBe("1000");
    expect(content("memory.swap.max")).toBe("500");
    expect(content("memory.low")).toBe("500");
    expect(content("cpu.weight")).toBe("39");
    expect(content("cpu.max")).toBe("50000 200000");
    expect(content("cpuset.cpus")).toBe("0-1");
    expect(content("pids.max")).toBe("20");
    expect(content("io.weight")).toBe("default 10000");
  });

  it("takes negative limits as none", () => {
    given({ "memory.max": "1", "memory.swap.max": "1", "cpu.max": "1 1", "pids.max": "1" });
    tree.applyLimits(group, { ...unlimited, memory: -1, memorySwap: -1, cpuQuota: -1, pidsLimit: -1 });
    expect(content("memory.max")).toBe("max");
    expect(content("memory.swap.max")).toBe("max");
    expect(content("cpu.max")).toBe("max 100000");
    expect(content("pids.max")).toBe("max");
  });

  it("refuses what v2 does not have, by name", () => {
    given({ "memory.max": "max", "memory.swap.max": "max" });
    expect(rejectedLimit({ memorySwappiness: 10 })).toBe("memorySwappiness");
    expect(rejectedLimit({ oomKillDisable: true })).toBe("oomKillDisable");
    expect(rejectedLimit({ memorySwap: 100 })).toBe("memorySwap");
    expect(rejectedLimit({ memory: 200, memorySwap: 100 })).toBe("memorySwap");
    expect(rejectedLimit({ pidsLimit: 5 })).toBe("pidsLimit");
  });

  it("reads what is used", () => {
    given({
      "cpu.stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_throttled 1\nthrottled_usec 4\n",
      "memory.current": "4096\n",
      "memory.peak": "8192\n",
      "memory.max": "max\n",
      "memory.stat": "anon 1\ninactive_file 1024\n",
      "memory.events": "low 0\noom 1\noom_kill 2\noom_group_kill 0\n",
      "pids.current": "4\n",
      "pids.max": "20\n",
      "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=9 dios=1\n8:16 rbytes=5 wbytes=1 rios=1 wios=1\n",
    });
    expect(tree.usage(group)).toEqual({
      cpuTotalNs: 5000,
      cpuUserNs: 3000,
      cpuSystemNs: 2000,
      cpuThrottledPeriods: 1,
      cpuThrottledNs: 4000,
      memoryBytes: 4096,
      memoryInactiveFileBytes: 1024,
      memoryLimitBytes: 0,
      memoryMaxBytes: 8192,
      memoryStat: { anon: 1, inactive_file: 1024 },
      oomKills: 2,
      pids: 4,
      pidsLimit: 20,
      blkioReadBytes: 15,
      blkioWriteBytes: 21,
    });
  });

  it("kills through cgroup.kill", () => {
    given({ "cgroup.procs": "1\n", "cgroup.kill": "" });
    tree.kill(group);
    expect(content("cgroup.kill")).toBe("1");
    expect(() => tree.kill("/berth-test/missing")).not.toThrow();
  });

  it("freezes, and is frozen when the kernel says so", () => {
    given({ "cgroup.freeze": "0", "cgroup.events": "populated 1\nfrozen 0\n" });
    tree.setFrozen(group, true);
    expect(content("cgroup.freeze")).toBe("1");
    expect(tree.isFrozen(group)).toBe(false);
    given({ "cgroup.events": "populated 1\nfrozen 1\n" });
    expect(tree.isFrozen(group)).toBe(true);
  });
});

describe("weights", () => {
  it("spread v1's ranges over v2's", () => {
    expect([0, 2, 1024, 262_144, 999_999].map(weightOfShares)).toEqual([1, 1, 39, 10_000, 10_000]);
    expect([10, 500, 1000].map(weightOfBlkio)).toEqual([1, 4950, 10_000]);
  });
});
