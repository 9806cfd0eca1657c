/** Operations on links and routes, in the network namespace that the thread is in. */
import { randomBytes } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import type { LinkOp, Route } from "../kernel-ops.ts";
import { SyscallError } from "../syscall-error.ts";
import { formatMac } from "./ip-address.ts";
import { attributesOf, textOf } from "./message.ts";
import {
  changeLink,
  delLink,
  delRoute,
  getLinkByName,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  newAddress,
  newBridge,
  newRoute,
  newVeth,
  setHairpin,
} from "./route-messages.ts";
import { RouteSocket } from "./route-socket.ts";

type Op<K extends LinkOp["op"]> = Extract<LinkOp, { op: K }>;

export function createBridge(op: Op<"bridge-create">): void {
  using socket = new RouteSocket();
  const existing = socket.findIndex(op.name);
  if (existing === undefined) {
    // Without one of its own, a bridge takes its ports' smallest address, and changes it as they come and go.
    socket.request("RTM_NEWLINK", [newBridge({ name: op.name, mtu: op.mtu, mac: op.mac ?? randomMac() })]);
  } else {
    requireBridge(socket, op.name);
  }
  const index = existing ?? socket.indexOf(op.name);
  const mac = existing === undefined || op.mac === undefined ? {} : { mac: op.mac };
  socket.request("RTM_NEWLINK", [
    changeLink({ index, up: true, mtu: op.mtu, ...mac }),
    ...op.addresses.map((address) => newAddress(index, address)),
  ]);
}

export function createVeth(op: Op<"veth-create">): void {
  using socket = new RouteSocket();
  const bridgeIndex = socket.indexOf(op.bridge);
  const netnsFd = openSync(op.netns, "r");
  try {
    const { name, peer, mtu, mac } = op;
    const pair = newVeth({ name, bridgeIndex, peer, mtu, mac, netnsFd });
    const [created, hairpin] = socket.requestEach(
      "RTM_NEWLINK",
      op.hairpin === true ? [pair, setHairpin(name)] : [pair],
    );
    if (created !== undefined) throw created;
    if (hairpin === undefined) return;
    deleteLink(name);
    throw hairpin;
  } finally {
    closeSync(netnsFd);
  }
}

export function joinBridge({ name, bridge, hairpin }: Op<"bridge-join">): void {
  using socket = new RouteSocket();
  const master = socket.indexOf(bridge);
  const index = socket.findIndex(name);
  if (index === undefined) return;
  socket.request("RTM_NEWLINK", [
    changeLink({ index, master, up: true }),
    ...(hairpin === true ? [setHairpin(name)] : []),
  ]);
}

export function configureLink(op: Omit<Op<"link-configure">, "netns">): void {
  using socket = new RouteSocket();
  const index = socket.indexOf(op.name);
  const rename = op.rename === undefined || op.rename === op.name ? [] : [changeLink({ index, rename: op.rename })];
  const deviceOf = (route: Route) =>
    route.device === undefined || route.device === op.name || route.device === op.rename
      ? index
      : socket.indexOf(route.device);
  const routes = op.routes.map((route) => newRoute(route, deviceOf(route)));
  socket.request("RTM_NEWLINK", [
    // A link that is up can't be renamed.
    ...rename,
    changeLink({ index, up: true }),
    ...op.addresses.map((address) => newAddress(index, address)),
    ...routes,
  ]);
}

export function deleteLink(name: string): void {
  using socket = new RouteSocket();
  const index = socket.findIndex(name);
  if (index === undefined) return;
  ignoring("ENODEV", () => socket.request("RTM_DELLINK", [delLink(index)]));
}

export function replaceRoute(route: Route): void {
  using socket = new RouteSocket();
  socket.request("RTM_NEWROUTE", [newRoute(route, route.device === undefined ? 0 : socket.indexOf(route.device))]);
}

export function deleteRoute(route: Route): void {
  using socket = new RouteSocket();
  const index = route.device === undefined ? 0 : socket.findIndex(route.device);
  // A device that is gone took its routes with it.
  if (index === undefined) return;
  ignoring("ESRCH", () => socket.request("RTM_DELROUTE", [delRoute(route, index)]));
}

function requireBridge(socket: RouteSocket, name: string): void {
  const link = attributesOf(socket.get("RTM_GETLINK", getLinkByName(name)).body, 16);
  const info = link.get(IFLA_LINKINFO);
  const kind = info === undefined ? "" : textOf(attributesOf(info).get(IFLA_INFO_KIND));
  if (kind !== "bridge") throw new SyscallError("RTM_NEWLINK", 17, "a link of this name exists and is no bridge");
}

/** Locally administered, unicast. */
function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return formatMac(bytes);
}

function ignoring(code: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === code)) throw error;
  }
}
