/** What a network is in the kernel: its bridge. Pure; every plan can be applied again. */
import type { KernelOp } from "../host/kernel-ops.ts";
import type { NetworkRecord } from "../schema/network.ts";
import { parseCidr } from "./ip-address.ts";

/** Makes the bridge, or mends it. */
export function bridgeUp(network: NetworkRecord): readonly KernelOp[] {
  const conf = (family: "ipv4" | "ipv6", key: string): string => `net/${family}/conf/${network.bridge}/${key}`;
  const hasIpv6 = network.spec.ipam.some((pool) => parseCidr(pool.subnet)?.family === 6);
  return [
    { op: "bridge-create", name: network.bridge, mtu: network.mtu, addresses: gatewayAddresses(network) },
    // Packets that the host sends from 127.0.0.1 to a published port leave through the bridge; the firewall gives
    // them the bridge's address there, and drops any that arrive for 127.0.0.0/8 from outside.
    { op: "sysctl", key: conf("ipv4", "route_localnet"), value: "1" },
    // A container must not talk the host into a default route by router advertisements (CVE-2020-13401).
    { op: "sysctl", key: conf("ipv6", "accept_ra"), value: "0", optional: true },
    ...(network.spec.internal ? [] : [{ op: "sysctl", key: "net/ipv4/ip_forward", value: "1" } as const]),
    ...(hasIpv6 && !network.spec.internal
      ? [{ op: "sysctl", key: "net/ipv6/conf/all/forwarding", value: "1" } as const]
      : []),
  ];
}

export function bridgeDown(network: NetworkRecord): readonly KernelOp[] {
  return [{ op: "link-delete", name: network.bridge }];
}

/** The bridge's own addresses, the containers' gateways: "172.17.0.1/16". */
export function gatewayAddresses(network: NetworkRecord): readonly string[] {
  return network.spec.ipam.map((pool) => `${pool.gateway ?? ""}/${parseCidr(pool.subnet)?.prefix ?? 0}`);
}

/** The IPv4 (or IPv6) address of the bridge; "" when the network has none of that family. */
export function gatewayOf(network: NetworkRecord, family: 4 | 6): string {
  return network.spec.ipam.find((pool) => parseCidr(pool.subnet)?.family === family)?.gateway ?? "";
}
