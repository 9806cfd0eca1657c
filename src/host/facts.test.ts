import { describe, expect, it } from "vitest";
import { heldCapabilities, goArchitecture, osName, uplinkOf } from "./facts.ts";

describe("host facts", () => {
  it("name the system as os-release does", () => {
    expect(osName('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')).toBe("Debian GNU/Linux 12 (bookworm)");
    expect(osName("PRETTY_NAME='A \\$ B'")).toBe("A $ B");
    expect(osName("")).toBe("Linux");
  });

  it("name the architecture as OCI does", () => {
    expect(["x64", "arm64", "riscv64"].map(goArchitecture)).toEqual(["amd64", "arm64", "riscv64"]);
  });

  it("name the bits of CapEff", () => {
    expect(heldCapabilities("Name:\tx\nCapEff:\t0000000000000003\n")).toEqual(["CHOWN", "DAC_OVERRIDE"]);
    const names = heldCapabilities("CapEff:\t000001fffeffffff\n");
    expect(names).toHaveLength(40);
    expect(names).not.toContain("SYS_RESOURCE");
    expect(names.at(-1)).toBe("CHECKPOINT_RESTORE");
  });
});

describe("uplinkOf", () => {
  const header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

  it("takes the default route with the least metric", () => {
    const routes = [
      "wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0",
      "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0",
      "eth1\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
      "down0\t00000000\t0100000A\t0002\t0\t0\t1\t00000000\t0\t0\t0",
    ].join("\n");
    expect(uplinkOf(header + routes, "")).toBe("eth0");
  });

  it("falls back to IPv6, and knows when there is none", () => {
    const zeros = "0".repeat(32);
    const ipv6 = [
      `${zeros} 00 ${zeros} 00 ${zeros} ffffffff 00000001 00000000 00200200       lo`,
      `${zeros} 00 ${zeros} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth6`,
    ].join("\n");
    expect(uplinkOf(header, ipv6)).toBe("eth6");
    expect(uplinkOf(header, "")).toBeUndefined();
  });
});
