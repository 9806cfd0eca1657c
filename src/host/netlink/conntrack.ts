/** Connection tracking (ctnetlink): forgetting what a published port's peers were told before. */
import type { NftOp } from "../kernel-ops.ts";
import { SyscallError } from "../syscall-error.ts";
import { formatAddress, parseAddress } from "./ip-address.ts";
import { attribute, attributesOf, nested, type OutgoingMessage, u32, u8 } from "./message.ts";
import { NetlinkSocket } from "./netlink-socket.ts";

type ForgetOp = Extract<NftOp, { op: "conntrack-forget" }>;

const NETLINK_NETFILTER = 12;
const IPCTNL_MSG_CT_GET = (1 << 8) | 1;
const IPCTNL_MSG_CT_DELETE = (1 << 8) | 2;
const families = [
  { family: 2, bytes: 4, destination: 2 },
  { family: 10, bytes: 16, destination: 4 },
];
const protocols = { tcp: 6, udp: 17, sctp: 132 };

const CTA_TUPLE_ORIG = 1;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
/** "Compare the protocol and the destination port." */
const filterFlags = (1 << 3) | (1 << 5);

/** Deletes the connections that were made to `port` on one of `addresses`. */
export function forgetConnections(op: ForgetOp): void {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  for (const { family, bytes, destination } of families) {
    const addresses = new Set(op.addresses.filter((text) => parseAddress(text)?.length === bytes));
    if (addresses.size === 0) continue;
    const stale = listConnections(socket, op, family)
      .map((body) => attributesOf(body, 4))
      .filter((connection) => {
        const to = originalTarget(connection, destination);
        return to?.protocol === protocols[op.protocol] && to.port === op.port && addresses.has(to.address);
      });
    if (stale.length === 0) continue;
    const errors = socket.requestEach(
      "IPCTNL_MSG_CT_DELETE",
      stale.map((connection) => deletion(connection, family)),
    );
    // One that has just ended by itself is what was wanted.
    const failed = errors.find((error) => error !== undefined && error.code !== "ENOENT");
    if (failed !== undefined) throw failed;
  }
}

/** The kernel looks through them itself from Linux 5.8 on; before, all are listed. Either way the caller checks. */
function listConnections(socket: NetlinkSocket, op: ForgetOp, family: number): readonly Buffer[] {
  const port = Buffer.alloc(2);
  port.writeUInt16BE(op.port);
  const proto = nested(CTA_TUPLE_PROTO, u8(CTA_PROTO_NUM, protocols[op.protocol]), attribute(CTA_PROTO_DST_PORT, port));
  const filter = [nested(CTA_TUPLE_ORIG, proto), nested(CTA_FILTER, u32(CTA_FILTER_ORIG_FLAGS, filterFlags))];
  const list = (attributes: readonly Buffer[]): readonly Buffer[] =>
    socket
      .dump("IPCTNL_MSG_CT_GET", message(IPCTNL_MSG_CT_GET, family, attributes))
      .map((connection) => connection.body);
  try {
    return list(filter);
  } catch (error) {
    if (error instanceof SyscallError && (error.code === "EINVAL" || error.code === "EOPNOTSUPP")) return list([]);
    throw error;
  }
}

function originalTarget(
  connection: ReadonlyMap<number, Buffer>,
  destination: number,
): { readonly address: string; readonly protocol: number; readonly port: number } | undefined {
  const tuple = attributesOf(connection.get(CTA_TUPLE_ORIG) ?? Buffer.alloc(0));
  const address = attributesOf(tuple.get(CTA_TUPLE_IP) ?? Buffer.alloc(0)).get(destination);
  const proto = attributesOf(tuple.get(CTA_TUPLE_PROTO) ?? Buffer.alloc(0));
  const port = proto.get(CTA_PROTO_DST_PORT);
  if (address === undefined || port === undefined) return undefined;
  return {
    address: formatAddress(address),
    protocol: proto.get(CTA_PROTO_NUM)?.readUInt8(0) ?? 0,
    port: port.readUInt16BE(0),
  };
}

/** By its tuple, and by its id, so that a newer one with the same tuple is not meant. */
function deletion(connection: ReadonlyMap<number, Buffer>, family: number): OutgoingMessage {
  const keep = [CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID].flatMap((type) => {
    const payload = connection.get(type);
    if (payload === undefined) return [];
    return [type === CTA_TUPLE_ORIG ? nested(type, payload) : attribute(type, payload)];
  });
  return message(IPCTNL_MSG_CT_DELETE, family, keep);
}

/** With nfnetlink's own header: family, version, resource. */
function message(type: number, family: number, attributes: readonly Buffer[]): OutgoingMessage {
  return { type, flags: 0, body: Buffer.concat([Buffer.from([family, 0, 0, 0]), ...attributes]) };
}
