import { describe, expect, it } from "vitest";
import { ownGroup } from "./migration-lock.ts";

const hierarchies = {
  mode: "hybrid",
  controllers: new Map([
    ["cpu", "/sys/fs/cgroup/cpu,cpuacct"],
    ["cpuacct", "/sys/fs/cgroup/cpu,cpuacct"],
  ]),
  unified: "/sys/fs/cgroup/unified",
  directories: [],
} as const;

describe("ownGroup", () => {
  it("is this process's group in a hierarchy that has a controller", () => {
    const text = "12:name=systemd:/user\n4:memory:/elsewhere\n3:cpu,cpuacct:/system.slice/berth.service\n0::/\n";
    expect(ownGroup(hierarchies, text)).toBe("/sys/fs/cgroup/cpu,cpuacct/system.slice/berth.service");
    expect(ownGroup(hierarchies, "3:cpu,cpuacct:/\n0::/\n")).toBe("/sys/fs/cgroup/cpu,cpuacct");
  });

  it("is nowhere when no such hierarchy is mounted", () => {
    expect(ownGroup(hierarchies, "1:pids:/a\n0::/\n")).toBeUndefined();
  });
});
