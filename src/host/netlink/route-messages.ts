/** Messages of rtnetlink(7), as pure functions. Field names are the kernel's (linux/rtnetlink.h, linux/if_link.h). */
import type { Route } from "../kernel-ops.ts";
import { broadcastOf, parseAddress, parseMac, parsePrefix } from "./ip-address.ts";
import {
  attribute,
  nested,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  type OutgoingMessage,
  text,
  u32,
  u8,
} from "./message.ts";
import { invalidArgument } from "../syscall-error.ts";

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

export const IFLA_ADDRESS = 1;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_MASTER = 10;
export const IFLA_LINKINFO = 18;
export const IFLA_STATS64 = 23;
export const IFLA_EXT_MASK = 29;
export const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
const IFLA_BRPORT_MODE = 4;
const IFLA_NET_NS_FD = 28;
const IFLA_NUM_TX_QUEUES = 31;
const IFLA_NUM_RX_QUEUES = 32;
const VETH_INFO_PEER = 1;
export const RTEXT_FILTER_SKIP_STATS = 1 << 3;

export const IFF_UP = 0x1;
const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;

export const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_F_NODAD = 0x02;

const RTA_DST = 1;
export const RTA_OIF = 4;
const RTA_GATEWAY = 5;
export const RTA_PRIORITY = 6;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;

export interface LinkChange {
  readonly index: number;
  readonly up?: boolean;
  readonly rename?: string;
  readonly mtu?: number;
  readonly mac?: string;
  /** Index of the bridge that it is to be a port of. */
  readonly master?: number;
}

export function getLinkByName(name: string): OutgoingMessage {
  return {
    type: RTM_GETLINK,
    flags: 0,
    body: Buffer.concat([ifinfomsg(0), text(IFLA_IFNAME, name), u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)]),
  };
}

export function newBridge(bridge: {
  readonly name: string;
  readonly mtu: number;
  readonly mac: string;
}): OutgoingMessage {
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: Buffer.concat([
      ifinfomsg(0),
      text(IFLA_IFNAME, bridge.name),
      u32(IFLA_MTU, bridge.mtu),
      attribute(IFLA_ADDRESS, parseMac(bridge.mac)),
      nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge")),
    ]),
  };
}

export interface VethPair {
  readonly name: string;
  /** Index of the bridge that `name` joins. */
  readonly bridgeIndex: number;
  readonly peer: string;
  readonly mtu: number;
  /** The peer's. */
  readonly mac: string;
  /** Descriptor of the peer's namespace. */
  readonly netnsFd: number;
}

/** Both ends in one message; the host's is up at once, the peer's can't be. */
export function newVeth(veth: VethPair): OutgoingMessage {
  // The kernel would make one for each possible CPU, with a directory in sysfs for each: a third of the whole cost on two CPUs.
  // Only XDP and GRO on the pair itself would use more than one.
  const queues = [u32(IFLA_NUM_TX_QUEUES, 1), u32(IFLA_NUM_RX_QUEUES, 1)];
  const peer = Buffer.concat([
    ifinfomsg(0),
    text(IFLA_IFNAME, veth.peer),
    u32(IFLA_MTU, veth.mtu),
    attribute(IFLA_ADDRESS, parseMac(veth.mac)),
    u32(IFLA_NET_NS_FD, veth.netnsFd),
    ...queues,
  ]);
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: Buffer.concat([
      ifinfomsg(0, true),
      text(IFLA_IFNAME, veth.name),
      u32(IFLA_MTU, veth.mtu),
      u32(IFLA_MASTER, veth.bridgeIndex),
      ...queues,
      nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer))),
    ]),
  };
}

/** Lets a bridge send a frame back out of the port it came from: how a container reaches its own published port. */
export function setHairpin(name: string): OutgoingMessage {
  return {
    type: RTM_NEWLINK,
    flags: 0,
    body: Buffer.concat([
      ifinfomsg(0),
      text(IFLA_IFNAME, name),
      nested(
        IFLA_LINKINFO,
        text(IFLA_INFO_SLAVE_KIND, "bridge"),
        nested(IFLA_INFO_SLAVE_DATA, u8(IFLA_BRPORT_MODE, 1)),
      ),
    ]),
  };
}

export function changeLink(change: LinkChange): OutgoingMessage {
  return {
    type: RTM_NEWLINK,
    flags: 0,
    body: Buffer.concat([
      ifinfomsg(change.index, change.up),
      ...(change.rename === undefined ? [] : [text(IFLA_IFNAME, change.rename)]),
      ...(change.master === undefined ? [] : [u32(IFLA_MASTER, change.master)]),
      ...(change.mtu === undefined ? [] : [u32(IFLA_MTU, change.mtu)]),
      ...(change.mac === undefined ? [] : [attribute(IFLA_ADDRESS, parseMac(change.mac))]),
    ]),
  };
}

export function delLink(index: number): OutgoingMessage {
  return { type: RTM_DELLINK, flags: 0, body: ifinfomsg(index) };
}

/** Adds an address ("10.0.0.1/24"); one that is there is no error. */
export function newAddress(index: number, cidr: string): OutgoingMessage {
  const prefix = parsePrefix(cidr);
  const header = Buffer.alloc(8);
  header[0] = prefix.family === "ipv4" ? AF_INET : AF_INET6;
  header[1] = prefix.length;
  // Nobody else has our addresses; duplicate detection would keep them unusable for a second.
  header[2] = prefix.family === "ipv4" ? 0 : IFA_F_NODAD;
  header.writeUInt32LE(index, 4);
  const attributes = [attribute(IFA_LOCAL, prefix.address), attribute(IFA_ADDRESS, prefix.address)];
  if (prefix.family === "ipv4" && prefix.length < 31) attributes.push(attribute(IFA_BROADCAST, broadcastOf(prefix)));
  return { type: RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_REPLACE, body: Buffer.concat([header, ...attributes]) };
}

/** A route in the main table; `deviceIndex` 0 leaves the device to the gateway. */
export function newRoute(route: Route, deviceIndex: number): OutgoingMessage {
  return { type: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_REPLACE, body: routeBody(route, deviceIndex, false) };
}

export function delRoute(route: Route, deviceIndex: number): OutgoingMessage {
  return { type: RTM_DELROUTE, flags: 0, body: routeBody(route, deviceIndex, true) };
}

function routeBody(route: Route, deviceIndex: number, deleting: boolean): Buffer {
  const destination = parsePrefix(route.destination);
  const header = Buffer.alloc(12);
  header[0] = destination.family === "ipv4" ? AF_INET : AF_INET6;
  header[1] = destination.length;
  header[4] = RT_TABLE_MAIN;
  // For a deletion 0 and NOWHERE mean "any".
  header[5] = deleting ? 0 : RTPROT_STATIC;
  const RT_SCOPE_NOWHERE = 255;
  const scope = route.gateway === undefined && destination.family === "ipv4" ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  header[6] = deleting ? RT_SCOPE_NOWHERE : scope;
  header[7] = deleting ? 0 : RTN_UNICAST;
  const attributes: Buffer[] = [];
  if (destination.length > 0) attributes.push(attribute(RTA_DST, destination.address));
  if (route.gateway !== undefined) attributes.push(attribute(RTA_GATEWAY, gatewayOf(route.gateway)));
  if (deviceIndex !== 0) attributes.push(u32(RTA_OIF, deviceIndex));
  if (route.metric !== undefined) attributes.push(u32(RTA_PRIORITY, route.metric));
  return Buffer.concat([header, ...attributes]);
}

function gatewayOf(text: string): Buffer {
  const bytes = parseAddress(text);
  if (bytes === undefined) {
    throw invalidArgument(`not a gateway address: ${text}`);
  }
  return bytes;
}

export function ifinfomsg(index: number, up = false): Buffer {
  const header = Buffer.alloc(16);
  header[0] = AF_UNSPEC;
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(up ? IFF_UP : 0, 8);
  header.writeUInt32LE(up ? IFF_UP : 0, 12);
  return header;
}
