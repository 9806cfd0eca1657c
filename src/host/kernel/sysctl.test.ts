import { expect, it } from "vitest";
import { makedev } from "./mknod.ts";
import { sysctlPath } from "./sysctl.ts";

it("turns a sysctl's dots into a path, and takes slashes as they are", () => {
  expect(sysctlPath("net.ipv4.ip_forward")).toBe("/proc/sys/net/ipv4/ip_forward");
  expect(sysctlPath("net/ipv4/conf/eth0.5/forwarding")).toBe("/proc/sys/net/ipv4/conf/eth0.5/forwarding");
});

it.each(["", "net..x", "../kernel", "net/../../x", "/etc/passwd"])("refuses the sysctl %j", (key) => {
  expect(() => sysctlPath(key)).toThrow(/not a sysctl key/);
});

it("packs device numbers as the C library does", () => {
  expect(makedev(1, 3)).toBe(0x103);
  expect(makedev(259, 0x12345)).toBe(0x12310345);
  expect(makedev(8, 0xfffff)).toBe(0xfff008ff);
});
