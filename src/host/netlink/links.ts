import type { LinkInfo } from "../host.ts";
import { inNetns } from "../kernel/netns.ts";
import { named } from "../kernel/worker-failure.ts";
import { formatAddress, formatMac } from "./ip-address.ts";
import { attributesOf, type IncomingMessage, textOf } from "./message.ts";
import {
  IFA_ADDRESS,
  IFA_LOCAL,
  IFF_UP,
  IFLA_ADDRESS,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_MTU,
  IFLA_STATS64,
  ifinfomsg,
  RTM_GETADDR,
  RTM_GETLINK,
} from "./route-messages.ts";
import { RouteSocket } from "./route-socket.ts";

/** All links of the host's network namespace, or of the one pinned at `netns`, with addresses and counters. */
export function listLinks(netns: string | undefined): readonly LinkInfo[] {
  return named("links", netns ?? "host", () =>
    inNetns(netns, () => {
      using socket = new RouteSocket();
      const links = socket.dump("RTM_GETLINK", { type: RTM_GETLINK, flags: 0, body: ifinfomsg(0) });
      const addresses = socket.dump("RTM_GETADDR", { type: RTM_GETADDR, flags: 0, body: Buffer.alloc(8) });
      return decodeLinks(links, addresses);
    }),
  );
}

/** {@link LinkInfo} from dumps of RTM_NEWLINK and RTM_NEWADDR messages. */
export function decodeLinks(
  links: readonly IncomingMessage[],
  addresses: readonly IncomingMessage[],
): readonly LinkInfo[] {
  const byLink = new Map<number, string[]>();
  for (const { body } of addresses) {
    const index = body.readUInt32LE(4);
    const attributes = attributesOf(body, 8);
    // On a point-to-point link IFA_ADDRESS is the other end's.
    const address = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
    if (address === undefined) continue;
    byLink.set(index, [...(byLink.get(index) ?? []), `${formatAddress(address)}/${body[1]}`]);
  }
  return links.map(({ body }) => decodeLink(body, byLink));
}

function decodeLink(body: Buffer, addresses: ReadonlyMap<number, readonly string[]>): LinkInfo {
  const index = body.readInt32LE(4);
  const attributes = attributesOf(body, 16);
  const info = attributes.get(IFLA_LINKINFO);
  const stats = attributes.get(IFLA_STATS64);
  /** Counters of struct rtnl_link_stats64, in its order. */
  const counter = (position: number) =>
    stats === undefined || stats.length < 8 * position + 8 ? 0 : Number(stats.readBigUInt64LE(8 * position));
  return {
    index,
    name: textOf(attributes.get(IFLA_IFNAME)),
    kind: info === undefined ? "" : textOf(attributesOf(info).get(IFLA_INFO_KIND)),
    mtu: attributes.get(IFLA_MTU)?.readUInt32LE(0) ?? 0,
    up: (body.readUInt32LE(8) & IFF_UP) !== 0,
    mac: formatMac(attributes.get(IFLA_ADDRESS)),
    master: attributes.get(IFLA_MASTER)?.readUInt32LE(0) ?? 0,
    addresses: addresses.get(index) ?? [],
    rxPackets: counter(0),
    txPackets: counter(1),
    rxBytes: counter(2),
    txBytes: counter(3),
    rxErrors: counter(4),
    txErrors: counter(5),
    rxDropped: counter(6),
    txDropped: counter(7),
  };
}
