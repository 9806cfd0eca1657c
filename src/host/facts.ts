import { readFileSync } from "node:fs";
import { arch, availableParallelism, hostname, machine, release, totalmem } from "node:os";
import type { HostFacts } from "./host.ts";
import { capabilityNames } from "../schema/capability.ts";

/** Reads what this machine is. */
export function readHostFacts(): HostFacts {
  return {
    kernelRelease: release(),
    machine: machine(),
    architecture: goArchitecture(arch()),
    osName: osName(readText("/etc/os-release") ?? readText("/usr/lib/os-release") ?? ""),
    hostname: hostname(),
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    bootId: (readText("/proc/sys/kernel/random/boot_id") ?? "").trim(),
    capabilities: heldCapabilities(readText("/proc/self/status") ?? ""),
    uplinkMtu: () => {
      const uplink = uplinkOf(readText("/proc/net/route") ?? "", readText("/proc/net/ipv6_route") ?? "");
      const mtu = uplink === undefined ? Number.NaN : Number(readText(`/sys/class/net/${uplink}/mtu`));
      return Number.isInteger(mtu) && mtu > 0 ? mtu : 1500;
    },
  };
}

/** GOARCH for Node's name of an architecture. */
export function goArchitecture(nodeArch: string): string {
  const names: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };
  return names[nodeArch] ?? nodeArch;
}

/** PRETTY_NAME of os-release(5), unquoted. */
export function osName(osRelease: string): string {
  const value = /^PRETTY_NAME=(.*)$/m.exec(osRelease)?.[1];
  return value === undefined ? "Linux" : value.replace(/^(["'])(.*)\1$/, "$2").replace(/\\(.)/g, "$1");
}

/** Names of the bits of CapEff in the text of /proc/PID/status. */
export function heldCapabilities(status: string): readonly string[] {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (hex === undefined) return [];
  const bits = BigInt(`0x${hex}`);
  return capabilityNames.filter((_, bit) => ((bits >> BigInt(bit)) & 1n) === 1n);
}

/** The interface of the IPv4 default route with the least metric, else of the IPv6 one, from /proc/net's tables. */
export function uplinkOf(ipv4Routes: string, ipv6Routes: string): string | undefined {
  const rows = (table: string) => table.split("\n").map((line) => line.trim().split(/\s+/));
  const RTF_UP = 1;
  const ipv4 = rows(ipv4Routes)
    .filter((row) => row[1] === "00000000" && row[7] === "00000000" && (Number(`0x${row[3]}`) & RTF_UP) !== 0)
    .map((row) => ({ name: row[0] ?? "", metric: Number(row[6]) }));
  const ipv6 = rows(ipv6Routes)
    .filter((row) => row[0] === "0".repeat(32) && row[1] === "00" && row[9] !== "lo" && row[9] !== undefined)
    .map((row) => ({ name: row[9] ?? "", metric: Number.parseInt(row[5] ?? "0", 16) }));
  const best = (routes: typeof ipv4) => routes.sort((a, b) => a.metric - b.metric)[0]?.name;
  return best(ipv4) ?? best(ipv6);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
