/** The host's own addresses and routes, which a new network must not cover. Parsing is pure. */
import { readFile } from "node:fs/promises";
import type { Cidr } from "./ip-address.ts";

export interface HostRoute extends Cidr {
  readonly device: string;
}

/** The host's IPv4 and IPv6 routes, the default ones left out. Empty where /proc/net is missing. */
export async function readHostRoutes(): Promise<readonly HostRoute[]> {
  const [v4, v6] = await Promise.all([readOrEmpty("/proc/net/route"), readOrEmpty("/proc/net/ipv6_route")]);
  return [...parseIpv4Routes(v4), ...parseIpv6Routes(v6)];
}

/** /proc/net/route: destination and mask are little-endian hexadecimal. */
export function parseIpv4Routes(text: string): readonly HostRoute[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [device = "", destination, , , , , , mask] = line.split(/\s+/);
      if (destination === undefined || mask === undefined) return [];
      const prefix = ones(littleEndian(mask));
      return prefix === 0 ? [] : [{ family: 4 as const, bits: BigInt(littleEndian(destination)), prefix, device }];
    });
}

/** /proc/net/ipv6_route: only global and unique-local destinations matter. */
export function parseIpv6Routes(text: string): readonly HostRoute[] {
  return text.split("\n").flatMap((line) => {
    const [destination, prefixText, , , , , , , , device] = line.split(/\s+/);
    if (destination === undefined || prefixText === undefined || device === undefined) return [];
    const bits = BigInt(`0x${destination}`);
    const prefix = Number.parseInt(prefixText, 16);
    const unscoped = prefix === 0 || device === "lo" || bits >> 118n === 0x3fan || bits >> 120n === 0xffn;
    return unscoped ? [] : [{ family: 6 as const, bits, prefix, device }];
  });
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    // A kernel without IPv6 has no such file: then there are no routes to avoid.
    return "";
  }
}

function littleEndian(hex: string): number {
  return Buffer.from(hex, "hex").readUInt32LE(0);
}

function ones(value: number): number {
  return value.toString(2).replaceAll("0", "").length;
}
