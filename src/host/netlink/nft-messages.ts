/** nf_tables' messages over nfnetlink (linux/netfilter/nf_tables.h), as pure functions. Its numbers are big-endian. */
import { attribute, attributesOf, nested, NLM_F_CREATE, type OutgoingMessage, text, u32BE } from "./message.ts";
import type { NftVerdict } from "./nft-values.ts";

const NFNL_SUBSYS_NFTABLES = 10;
const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFT_MSG_GETSET = 10;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_DELSETELEM = 14;
const NFPROTO_INET = 1;

const NFTA_SET_TABLE = 1;
const NFTA_SET_NAME = 2;
const NFTA_SET_FLAGS = 3;
const NFTA_SET_KEY_TYPE = 4;
const NFTA_SET_KEY_LEN = 5;
const NFTA_SET_DATA_TYPE = 6;
const NFTA_SET_DATA_LEN = 7;
export const NFT_SET_INTERVAL = 0x4;
export const NFT_SET_MAP = 0x8;
export const NFT_SET_OBJECT = 0x40;
export const NFT_DATA_VERDICT = 0xffffff00;

const NFTA_SET_ELEM_LIST_TABLE = 1;
const NFTA_SET_ELEM_LIST_SET = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_SET_ELEM_DATA = 2;
const NFTA_DATA_VALUE = 1;
const NFTA_DATA_VERDICT = 2;
const NFTA_VERDICT_CODE = 1;
const NFTA_VERDICT_CHAIN = 2;

/** What the kernel keeps of a set or map. */
export interface NftSet {
  readonly table: string;
  readonly name: string;
  readonly flags: number;
  readonly keyType: number;
  /** Bytes. */
  readonly keyLength: number;
  readonly dataType: number;
  readonly dataLength: number;
}

export interface RawElement {
  readonly key: Buffer;
  readonly data?: Buffer | NftVerdict;
}

export function getSet(table: string, name: string): OutgoingMessage {
  return {
    type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETSET,
    flags: 0,
    body: Buffer.concat([nfgenmsg(NFPROTO_INET, 0), text(NFTA_SET_TABLE, table), text(NFTA_SET_NAME, name)]),
  };
}

/** The answer to {@link getSet}. */
export function decodeSet(body: Buffer, table: string, name: string): NftSet {
  const attributes = attributesOf(body, 4);
  const number = (type: number) => attributes.get(type)?.readUInt32BE(0) ?? 0;
  return {
    table,
    name,
    flags: number(NFTA_SET_FLAGS),
    keyType: number(NFTA_SET_KEY_TYPE),
    keyLength: number(NFTA_SET_KEY_LEN),
    dataType: number(NFTA_SET_DATA_TYPE),
    dataLength: number(NFTA_SET_DATA_LEN),
  };
}

/** One message for at most some hundred elements: an attribute holds 64 KiB. An element that is there with the same data is no error. */
export function addElements(set: NftSet, elements: readonly RawElement[]): OutgoingMessage {
  return elementsMessage(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements);
}

export function deleteElements(set: NftSet, elements: readonly RawElement[]): OutgoingMessage {
  return elementsMessage(NFT_MSG_DELSETELEM, 0, set, elements);
}

export const batchBegin: OutgoingMessage = {
  type: NFNL_MSG_BATCH_BEGIN,
  flags: 0,
  body: nfgenmsg(0, NFNL_SUBSYS_NFTABLES),
};
export const batchEnd: OutgoingMessage = {
  type: NFNL_MSG_BATCH_END,
  flags: 0,
  body: nfgenmsg(0, NFNL_SUBSYS_NFTABLES),
};

function elementsMessage(
  message: number,
  flags: number,
  set: NftSet,
  elements: readonly RawElement[],
): OutgoingMessage {
  return {
    type: (NFNL_SUBSYS_NFTABLES << 8) | message,
    flags,
    body: Buffer.concat([
      nfgenmsg(NFPROTO_INET, 0),
      text(NFTA_SET_ELEM_LIST_TABLE, set.table),
      text(NFTA_SET_ELEM_LIST_SET, set.name),
      nested(NFTA_SET_ELEM_LIST_ELEMENTS, ...elements.map(encodeElement)),
    ]),
  };
}

function encodeElement({ key, data }: RawElement): Buffer {
  const parts = [nested(NFTA_SET_ELEM_KEY, attribute(NFTA_DATA_VALUE, key))];
  if (Buffer.isBuffer(data)) parts.push(nested(NFTA_SET_ELEM_DATA, attribute(NFTA_DATA_VALUE, data)));
  else if (data !== undefined) parts.push(nested(NFTA_SET_ELEM_DATA, encodeVerdict(data)));
  return nested(NFTA_LIST_ELEM, ...parts);
}

function encodeVerdict({ code, chain }: NftVerdict): Buffer {
  const attributes = [u32BE(NFTA_VERDICT_CODE, code)];
  if (chain !== undefined) attributes.push(text(NFTA_VERDICT_CHAIN, chain));
  return nested(NFTA_DATA_VERDICT, ...attributes);
}

/** struct nfgenmsg. */
function nfgenmsg(family: number, resourceId: number): Buffer {
  const header = Buffer.alloc(4);
  header[0] = family;
  header.writeUInt16BE(resourceId, 2);
  return header;
}
