import { describe, expect, it } from "vitest";
import { deviceRules } from "./device-rules.ts";
import { containerNamespaces } from "./namespaces.ts";
import { protectedPaths } from "./protected-paths.ts";
import { containerSysctls } from "./sysctls.ts";

describe("namespaces", () => {
  const namespaces = { network: "/run/netns/x", pid: "private", ipc: "host", uts: "private", cgroup: "host" };

  it("makes, joins or shares each", () => {
    expect(containerNamespaces(namespaces, "")).toEqual([
      { type: "mount" },
      { type: "network", path: "/run/netns/x" },
      { type: "pid" },
      { type: "uts" },
    ]);
  });

  it("refuses user namespaces by name", () => {
    expect(() => containerNamespaces(namespaces, "private")).toThrow('invalid user namespace mode "private"');
  });
});

describe("sysctls", () => {
  const own = { sysctls: {}, domainname: "", ownNetwork: true, ownIpc: true, ownUts: true };

  it("allows pings and low ports in an own network namespace only", () => {
    expect(Object.keys(containerSysctls(own))).toEqual([
      "net.ipv4.ip_unprivileged_port_start",
      "net.ipv4.ping_group_range",
    ]);
    expect(containerSysctls({ ...own, ownNetwork: false })).toEqual({});
  });

  it("lets the request win, and sets the domain name", () => {
    const sysctls = { "net.ipv4.ip_unprivileged_port_start": "80" };
    expect(containerSysctls({ ...own, sysctls, domainname: "example.org" })).toMatchObject({
      "net.ipv4.ip_unprivileged_port_start": "80",
      "kernel.domainname": "example.org",
    });
  });

  it.each([
    ["vm.swappiness", {}, "it would change the host"],
    ["net.core.somaxconn", { ownNetwork: false }, "shares its network namespace"],
    ["kernel.shmmax", { ownIpc: false }, "shares its IPC namespace"],
  ])("refuses %s", (key, more, reason) => {
    expect(() => containerSysctls({ ...own, ...more, sysctls: { [key]: "1" } })).toThrow(reason);
  });
});

describe("device rules", () => {
  it("denies first, then allows the harmless ones and what is granted", () => {
    const device = { path: "/dev/fuse", type: "c" as const, major: 10, minor: 229, fileMode: 0o666, uid: 0, gid: 0 };
    const rules = deviceRules(false, [{ device, access: "rw" }], ["c 13:* r"]);
    expect(rules[0]).toEqual({ allow: false, access: "rwm" });
    expect(rules).toHaveLength(9);
    expect(rules.slice(-2)).toEqual([
      { allow: true, type: "c", major: 10, minor: 229, access: "rw" },
      { allow: true, type: "c", major: 13, access: "r" },
    ]);
  });

  it("allows a privileged one everything", () => {
    expect(deviceRules(true, [], [])).toEqual([{ allow: true, access: "rwm" }]);
  });

  it("refuses a rule that it can't read", () => {
    expect(() => deviceRules(false, [], ["x 1:1 r"])).toThrow("invalid device cgroup rule format: 'x 1:1 r'");
  });
});

describe("protected paths", () => {
  const security = { privileged: false, maskedPaths: null, readonlyPaths: null };

  it("hides and locks what Docker does, unless privileged", () => {
    expect(protectedPaths(security).masked).toContain("/proc/kcore");
    expect(protectedPaths(security).readonly).toContain("/proc/sys");
    expect(protectedPaths({ ...security, privileged: true })).toEqual({ masked: [], readonly: [] });
  });

  it("takes own lists as they are", () => {
    expect(protectedPaths({ ...security, maskedPaths: [], readonlyPaths: ["/x"] })).toEqual({
      masked: [],
      readonly: ["/x"],
    });
  });
});
