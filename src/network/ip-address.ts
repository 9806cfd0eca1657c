/** IPv4 and IPv6 addresses and prefixes as numbers. Pure. */
import { isIPv4, isIPv6 } from "node:net";

export interface IpAddress {
  readonly family: 4 | 6;
  readonly bits: bigint;
}

export interface Cidr extends IpAddress {
  readonly prefix: number;
}

/** Undefined when `text` is no plain address. IPv4-mapped IPv6 stays IPv6; zones are refused. */
export function parseIp(text: string): IpAddress | undefined {
  if (isIPv4(text)) {
    return { family: 4, bits: text.split(".").reduce((bits, octet) => (bits << 8n) | BigInt(octet), 0n) };
  }
  if (!isIPv6(text) || text.includes("%")) return undefined;
  return { family: 6, bits: ipv6Groups(text).reduce((bits, group) => (bits << 16n) | BigInt(group), 0n) };
}

/** RFC 3927 and RFC 4291, section 2.5.6. */
export function isLinkLocal(text: string): boolean {
  const address = parseIp(text);
  if (address === undefined) return false;
  return address.family === 4 ? address.bits >> 16n === 0xa9fen : address.bits >> 118n === 0x3fan;
}

export function formatIp(address: IpAddress): string {
  if (address.family === 4) return octets(address.bits).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => Number((address.bits >> BigInt(112 - 16 * i)) & 0xffffn));
  return compress(groups);
}

/** "10.0.0.1/24": the address part is kept as written. Undefined when malformed. */
export function parseCidr(text: string): Cidr | undefined {
  const [address, prefix, ...rest] = text.split("/");
  if (address === undefined || prefix === undefined || rest.length > 0 || !/^\d{1,3}$/.test(prefix)) return undefined;
  const ip = parseIp(address);
  if (ip === undefined || Number(prefix) > widthOf(ip)) return undefined;
  return { ...ip, prefix: Number(prefix) };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr)}/${cidr.prefix}`;
}

/** The prefix with its host bits cleared. */
export function networkOf(cidr: Cidr): Cidr {
  return { ...cidr, bits: cidr.bits & ~hostMask(cidr) };
}

/** The highest address of the prefix: IPv4's broadcast. */
export function lastOf(cidr: Cidr): IpAddress {
  return { family: cidr.family, bits: cidr.bits | hostMask(cidr) };
}

export function contains(cidr: Cidr, address: IpAddress): boolean {
  return cidr.family === address.family && (address.bits & ~hostMask(cidr)) === networkOf(cidr).bits;
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.prefix <= b.prefix ? contains(a, b) : contains(b, a);
}

export function widthOf(address: IpAddress): 32 | 128 {
  return address.family === 4 ? 32 : 128;
}

/**
 * Names of the reverse zones that together cover a prefix ("18.172.in-addr.arpa"). A prefix that ends inside a label
 * is covered by every zone of the next longer label (128 at most), one longer than its last zone by that zone.
 */
export function reverseZones(subnet: Cidr): readonly string[] {
  const [labelBits, root] = subnet.family === 4 ? [8, "in-addr.arpa"] : [4, "ip6.arpa"];
  const width = widthOf(subnet);
  const longest = subnet.family === 4 ? 24 : width;
  const zonePrefix = Math.min(longest, Math.ceil(subnet.prefix / labelBits) * labelBits);
  const first =
    networkOf({ ...subnet, prefix: Math.min(subnet.prefix, zonePrefix) }).bits >> BigInt(width - zonePrefix);
  const count = 2 ** Math.max(0, zonePrefix - subnet.prefix);
  return Array.from({ length: count }, (_, i) => {
    const labels: string[] = [];
    for (let bits = first + BigInt(i), left = zonePrefix; left > 0; left -= labelBits, bits >>= BigInt(labelBits)) {
      labels.push((bits & ((1n << BigInt(labelBits)) - 1n)).toString(labelBits === 8 ? 10 : 16));
    }
    return [...labels, root].join(".");
  });
}

function hostMask(cidr: Cidr): bigint {
  return (1n << BigInt(widthOf(cidr) - cidr.prefix)) - 1n;
}

function octets(bits: bigint): readonly number[] {
  return [24n, 16n, 8n, 0n].map((shift) => Number((bits >> shift) & 0xffn));
}

function ipv6Groups(text: string): readonly number[] {
  const [head = "", tail] = text.split("::");
  const front = splitGroups(head);
  if (tail === undefined) return front;
  const back = splitGroups(tail);
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back];
}

function splitGroups(part: string): readonly number[] {
  if (part === "") return [];
  return part.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

/** RFC 5952: the longest run of two or more zero groups becomes "::". */
function compress(groups: readonly number[]): string {
  let [start, length] = [-1, 1];
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
    if (end > i) i = end;
  }
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  if (start === -1) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}
