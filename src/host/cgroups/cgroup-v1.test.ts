import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { unlimited } from "../../schema/resources.ts";
import { WorkerFailureError } from "../kernel/worker-failure.ts";
import { CgroupV1 } from "./cgroup-v1.ts";
import type { CgroupHierarchies } from "./hierarchies.ts";

let root: string;
let tree: CgroupV1;
const group = "/berth-test/one";
const controllers = ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "freezer"];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-v1-"));
  const hierarchies: CgroupHierarchies = {
    mode: "hybrid",
    controllers: new Map(controllers.map((name) => [name, join(root, name)])),
    unified: join(root, "unified"),
    directories: [...controllers, "systemd", "unified"].map((name) => join(root, name)),
  };
  tree = new CgroupV1(hierarchies);
});

afterEach(() => rmSync(root, { recursive: true }));

/** The kernel makes a group's files; here the test does. */
function given(controller: string, files: Readonly<Record<string, string>>, path = group): void {
  for (const [name, content] of Object.entries(files)) {
    const file = `${root}/${controller}${path}/${name}`;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
}

const content = (controller: string, name: string) => readFileSync(`${root}/${controller}${group}/${name}`, "utf8");

function rejection(work: () => void) {
  try {
    work();
  } catch (error) {
    if (error instanceof WorkerFailureError) return error.failure;
    throw error;
  }
  return undefined;
}

describe("CgroupV1", () => {
  it("makes the group in every hierarchy and hands cpusets down from the root", () => {
    given("cpuset", { "cpuset.cpus": "0-3\n", "cpuset.mems": "0\n" }, "");
    given("cpuset", { "cpuset.cpus": "\n", "cpuset.mems": "\n" }, "/berth-test");
    given("cpuset", { "cpuset.cpus": "\n", "cpuset.mems": "\n" });
    tree.create(group);
    for (const name of [...controllers, "systemd", "unified"]) expect(existsSync(`${root}/${name}${group}`)).toBe(true);
    expect(content("cpuset", "cpuset.cpus")).toBe("0-3");
    expect(content("cpuset", "cpuset.mems")).toBe("0");
  });

  it("leaves a cpuset alone that has been filled", () => {
    given("cpuset", { "cpuset.cpus": "0-3\n", "cpuset.mems": "0\n" }, "");
    given("cpuset", { "cpuset.cpus": "1\n", "cpuset.mems": "0\n" }, "/berth-test");
    given("cpuset", { "cpuset.cpus": "\n", "cpuset.mems": "\n" });
    tree.create(group);
    expect(content("cpuset", "cpuset.cpus")).toBe("1");
  });

  it("writes what is stated and leaves the rest alone", () => {
    given("memory", { "memory.limit_in_bytes": "-", "memory.soft_limit_in_bytes": "-", "memory.swappiness": "60" });
    given("cpu", { "cpu.shares": "1024", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1" });
    given("pids", { "pids.max": "max" });
    given("blkio", { "blkio.bfq.weight": "100" });
    tree.applyLimits(group, {
      ...unlimited,
      memory: 1 << 20,
      nanoCpus: 1_500_000_000,
      pidsLimit: 10,
      blkioWeight: 300,
      memorySwappiness: 0,
    });
    expect(content("memory", "memory.limit_in_bytes")).toBe("1048576");
    expect(content("memory", "memory.soft_limit_in_bytes")).toBe("-");
    expect(content("memory", "memory.swappiness")).toBe("0");
    expect(content("cpu", "cpu.cfs_quota_us")).toBe("150000");
    expect(content("cpu", "cpu.shares")).toBe("1024");
    expect(content("pids", "pids.max")).toBe("10");
    expect(content("blkio", "blkio.bfq.weight")).toBe("300");
  });

  it("takes a negative limit as none", () => {
    given("pids", { "pids.max": "10" });
    given("cpu", { "cpu.cfs_period_us": "1", "cpu.cfs_quota_us": "1" });
    tree.applyLimits(group, { ...unlimited, pidsLimit: -1, cpuQuota: -1 });
    expect(content("pids", "pids.max")).toBe("max");
    expect(content("cpu", "cpu.cfs_quota_us")).toBe("-1");
  });

  it("names the limit that the kernel does not have", () => {
    given("memory", { "memory.limit_in_bytes": "-" });
    expect(rejection(() => tree.applyLimits(group, { ...unlimited, memorySwap: 4096 }))).toEqual({
      kind: "limit-rejected",
      limit: "memorySwap",
      value: "4096",
      reason: "this kernel has no such limit",
    });
    expect(
      rejection(() => tree.applyLimits(group, { ...unlimited, blkioDeviceReadBps: [{ path: "/dev/null", rate: 1 }] })),
    ).toMatchObject({ limit: "blkioDeviceReadBps", value: "/dev/null", reason: "not a block device" });
  });

  it("reads what is used", () => {
    given("cpuacct", { "cpuacct.usage": "500\n", "cpuacct.usage_user": "300\n", "cpuacct.usage_sys": "200\n" });
    given("cpu", { "cpu.stat": "nr_periods 9\nnr_throttled 3\nthrottled_time 77\n" });
    given("memory", {
      "memory.usage_in_bytes": "4096\n",
      "memory.max_usage_in_bytes": "8192\n",
      "memory.limit_in_bytes": "9223372036854771712\n",
      "memory.stat": "inactive_file 1\ntotal_inactive_file 1024\n",
      "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    });
    given("pids", { "pids.current": "4\n", "pids.max": "max\n" });
    given("blkio", {
      "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:16 Read 5\n8:0 Total 30\nTotal 35\n",
    });
    expect(tree.usage(group)).toEqual({
      cpuTotalNs: 500,
      cpuUserNs: 300,
      cpuSystemNs: 200,
      cpuThrottledPeriods: 3,
      cpuThrottledNs: 77,
      memoryBytes: 4096,
      memoryInactiveFileBytes: 1024,
      memoryLimitBytes: 0,
      memoryMaxBytes: 8192,
      memoryStat: { inactive_file: 1, total_inactive_file: 1024 },
      oomKills: 2,
      pids: 4,
      pidsLimit: 0,
      blkioReadBytes: 15,
      blkioWriteBytes: 20,
    });
  });

  it("lists processes of all hierarchies and groups below, once", () => {
    given("pids", { "cgroup.procs": "10\n11\n0\n" });
    given("memory", { "cgroup.procs": "11\n" });
    given("memory", { "cgroup.procs": "9\n" }, `${group}/below`);
    expect(tree.processes(group)).toEqual([9, 10, 11]);
  });

  it("removes the group with those below it; missing is no error", () => {
    tree.create("/berth-test/two/below");
    expect(tree.remove("/berth-test/two")).toBe(true);
    expect(tree.children("/berth-test")).toEqual([]);
    expect(tree.remove("/berth-test/two")).toBe(true);
  });

  it("thaws what it kills, in groups below as well", () => {
    given("freezer", { "freezer.state": "FROZEN", "cgroup.procs": "" });
    given("freezer", { "freezer.state": "FREEZING", "cgroup.procs": "" }, `${group}/nested`);
    tree.kill(group);
    expect(content("freezer", "freezer.state")).toBe("THAWED");
    expect(content("freezer", "nested/freezer.state")).toBe("THAWED");
  });

  it("freezes and thaws", () => {
    given("freezer", { "freezer.state": "THAWED" });
    tree.setFrozen(group, true);
    expect(tree.isFrozen(group)).toBe(true);
    tree.setFrozen(group, false);
    expect(content("freezer", "freezer.state")).toBe("THAWED");
    expect(tree.isFrozen(group)).toBe(false);
  });
});
