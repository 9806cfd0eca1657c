/** nft's text form of values, as the bytes that the kernel's sets hold. */
import { parseAddress, parseMac } from "./ip-address.ts";

/** Verdicts are no bytes but a code and, for jump and goto, a chain. */
export interface NftVerdict {
  readonly code: number;
  readonly chain?: string;
}

/** nft's numbers for types, from its datatype.h; the kernel keeps them for it as a set's KEY_TYPE. */
const types = { ipv4: 7, ipv6: 8, ether: 9, protocol: 12, service: 13, mark: 19, ifname: 41 } as const;

const BITS_OF_TYPE = 6;

/**
 * `text` ("10.1.2.3 . tcp . 80") as a value of the type that the number names: one type, or several packed by 6 bits each
 * (a concatenation, whose fields are padded to 4 bytes). Undefined when this is not a form known here: nft(8) may know it.
 */
export function encodeNftValue(text: string, type: number): Buffer | undefined {
  const fieldTypes = unpackTypes(type);
  const fields = text.split(" . ").map((field) => field.trim());
  if (fields.length !== fieldTypes.length) return undefined;
  const encoded = fields.map((field, i) => encodeField(field, fieldTypes[i] ?? 0));
  const [first] = encoded;
  if (encoded.length === 1) return first;
  const parts: Buffer[] = [];
  for (const part of encoded) {
    if (part === undefined) return undefined;
    parts.push(part, Buffer.alloc(-part.length & 3));
  }
  return Buffer.concat(parts);
}

/** "accept", "drop", "return", "continue", "jump CHAIN", "goto CHAIN"; undefined for anything else. */
export function parseVerdict(text: string): NftVerdict | undefined {
  const [word = "", chain, ...rest] = text.trim().split(/\s+/);
  if (rest.length > 0) return undefined;
  const code = verdictCodes[word];
  if (code === undefined) return undefined;
  const needsChain = word === "jump" || word === "goto";
  if (needsChain !== (chain !== undefined)) return undefined;
  return chain === undefined ? { code } : { code, chain };
}

/** linux/netfilter.h, linux/netfilter/nf_tables.h. */
const verdictCodes: Readonly<Record<string, number>> = {
  drop: 0,
  accept: 1,
  continue: -1,
  jump: -3,
  goto: -4,
  return: -5,
};

const protocols: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  dccp: 33,
  esp: 50,
  ah: 51,
  "ipv6-icmp": 58,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
};

function unpackTypes(packed: number): readonly number[] {
  const unpacked: number[] = [];
  for (let rest = packed; rest > 0; rest >>>= BITS_OF_TYPE) unpacked.unshift(rest & (2 ** BITS_OF_TYPE - 1));
  return unpacked;
}

function encodeField(text: string, type: number): Buffer | undefined {
  switch (type) {
    case types.ipv4:
      return ofLength(parseAddress(text), 4);
    case types.ipv6:
      return ofLength(parseAddress(text), 16);
    case types.ether:
      return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text) ? parseMac(text) : undefined;
    case types.protocol: {
      const number = protocols[text] ?? integer(text, 0xff);
      return number === undefined ? undefined : Buffer.of(number);
    }
    case types.service: {
      const port = integer(text, 0xffff);
      return port === undefined ? undefined : Buffer.of(port >> 8, port & 0xff);
    }
    case types.mark: {
      const mark = integer(text, 0xffffffff);
      if (mark === undefined) return undefined;
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(mark);
      return bytes;
    }
    case types.ifname: {
      const name = text.replace(/^"(.*)"$/, "$1");
      // A wildcard is an interval of names.
      if (name === "" || name.length > 15 || name.includes("*")) return undefined;
      const bytes = Buffer.alloc(16);
      bytes.write(name, "latin1");
      return bytes;
    }
    default:
      return undefined;
  }
}

function ofLength(bytes: Buffer | undefined, length: number): Buffer | undefined {
  return bytes?.length === length ? bytes : undefined;
}

function integer(text: string, max: number): number | undefined {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}
