import { isIPv4, isIPv6 } from "node:net";
import { invalidArgument } from "../syscall-error.ts";

export interface Prefix {
  readonly family: "ipv4" | "ipv6";
  /** 4 or 16 bytes. */
  readonly address: Buffer;
  readonly length: number;
}

/** 4 or 16 bytes in network order; undefined when the text is no address. */
export function parseAddress(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from(text.split(".").map(Number));
  if (isIPv6(text) && !text.includes("%")) return parseIPv6(text);
  return undefined;
}

/** "10.0.0.1/24"; without a length the whole address. Throws on anything else. */
export function parsePrefix(text: string): Prefix {
  const [host = "", bits, ...rest] = text.split("/");
  const address = parseAddress(host);
  const longest = address === undefined ? 0 : address.length * 8;
  const length = bits === undefined ? longest : Number(bits);
  if (
    address === undefined ||
    rest.length > 0 ||
    bits === "" ||
    !Number.isInteger(length) ||
    length < 0 ||
    length > longest
  ) {
    throw invalidArgument(`not an address with a prefix length: ${text}`);
  }
  return { family: address.length === 4 ? "ipv4" : "ipv6", address, length };
}

/** Text of 4 or 16 bytes; IPv6 as RFC 5952 has it. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  const zeros = longestZeroRun(groups);
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(":");
  if (zeros.length < 2) return hex(groups);
  return `${hex(groups.slice(0, zeros.start))}::${hex(groups.slice(zeros.start + zeros.length))}`;
}

/** The last address of an IPv4 prefix. */
export function broadcastOf(prefix: Prefix): Buffer {
  const hostBits = 32 - prefix.length;
  const mask = hostBits === 32 ? 0xffffffff : 2 ** hostBits - 1;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE((prefix.address.readUInt32BE(0) | mask) >>> 0);
  return bytes;
}

/** "02:42:ac:11:00:02" as bytes; throws on anything else. */
export function parseMac(text: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw invalidArgument(`not a hardware address: ${text}`);
  }
  return Buffer.from(text.replaceAll(":", ""), "hex");
}

export function formatMac(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

function parseIPv6(text: string): Buffer {
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  let plain = text;
  if (embedded?.[2] !== undefined) {
    const [a = 0, b = 0, c = 0, d = 0] = embedded[2].split(".").map(Number);
    plain = `${embedded[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = "", tail] = plain.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const bytes = Buffer.alloc(16);
  for (const [i, group] of before.entries()) bytes.writeUInt16BE(group, 2 * i);
  for (const [i, group] of after.entries()) bytes.writeUInt16BE(group, 16 - 2 * (after.length - i));
  return bytes;
}

function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}
