import type { NftElement, NftOp } from "../kernel-ops.ts";
import { SyscallError } from "../syscall-error.ts";
import {
  addElements,
  deleteElements,
  NFT_DATA_VERDICT,
  NFT_SET_INTERVAL,
  NFT_SET_MAP,
  NFT_SET_OBJECT,
  type NftSet,
  type RawElement,
} from "./nft-messages.ts";
import { NftSocket } from "./nft-socket.ts";
import { encodeNftValue, parseVerdict } from "./nft-values.ts";

type ElementsOp = Extract<NftOp, { op: "nft-add-elements" | "nft-delete-elements" }>;

/** What nft(8) has to do: scripts, one by one. */
export interface NftScripts {
  readonly scripts: readonly string[];
  readonly missingIsFine: boolean;
}

const elementsPerMessage = 250;
/** What the socket's send buffer takes in one go. */
const elementsPerBatch = 1000;

/**
 * One for the thread's life: closing it after a deletion waits for the kernel to free what was deleted, 8 to 15 ms (RCU).
 * An exchange that was cut off leaves nothing behind, since answers are told apart by their sequence numbers.
 */
let threadSocket: NftSocket | undefined;

/** Adds or deletes elements straight through the kernel; answers with scripts for nft where a form is not known here. */
export function applyElements(op: ElementsOp): NftScripts | undefined {
  if (op.elements.length === 0) return undefined;
  threadSocket ??= new NftSocket();
  const socket = threadSocket;
  const set = socket.findSet(op.table, op.set);
  if (set === undefined) {
    if (op.op === "nft-delete-elements") return undefined;
    throw noSuchSet();
  }
  const elements = encodeElements(set, op.elements, op.op === "nft-add-elements");
  if (elements === undefined) return nftScripts(op);
  if (op.op === "nft-add-elements") add(socket, set, elements);
  else remove(socket, set, elements);
  return undefined;
}

/** ENOENT when the table is gone, or has no such set. */
export function requireSet(table: string, set: string): void {
  threadSocket ??= new NftSocket();
  if (threadSocket.findSet(table, set) === undefined) throw noSuchSet();
}

function noSuchSet(): SyscallError {
  return new SyscallError("NFT_MSG_GETSET", 2, "no such table or set");
}

/** The same operation in nft's language. */
export function nftScripts(op: ElementsOp): NftScripts {
  const set = `inet ${op.table} ${op.set}`;
  if (op.op === "nft-delete-elements") {
    return { scripts: op.elements.map(({ key }) => `delete element ${set} { ${key} }\n`), missingIsFine: true };
  }
  const elements = op.elements.map(({ key, value }) => (value === undefined ? key : `${key} : ${value}`));
  return { scripts: [`add element ${set} { ${elements.join(", ")} }\n`], missingIsFine: false };
}

/** Undefined when one of them, or the kind of set, is not known here. */
export function encodeElements(
  set: NftSet,
  elements: readonly NftElement[],
  withData: boolean,
): readonly RawElement[] | undefined {
  if ((set.flags & (NFT_SET_INTERVAL | NFT_SET_OBJECT)) !== 0 || elements.length > elementsPerBatch) return undefined;
  const isMap = (set.flags & NFT_SET_MAP) !== 0;
  const encoded: RawElement[] = [];
  for (const { key: keyText, value } of elements) {
    const key = encodeNftValue(keyText, set.keyType);
    if (key === undefined || key.length !== set.keyLength) return undefined;
    if (!withData || !isMap) {
      // A value for a plain set is an error that nft explains best.
      if (withData && value !== undefined) return undefined;
      encoded.push({ key });
      continue;
    }
    const data = encodeData(set, value);
    if (data === undefined) return undefined;
    encoded.push({ key, data });
  }
  return encoded;
}

function encodeData(set: NftSet, value: string | undefined): RawElement["data"] {
  if (value === undefined) return undefined;
  if (set.dataType === NFT_DATA_VERDICT) return parseVerdict(value);
  const data = encodeNftValue(value, set.dataType);
  return data?.length === set.dataLength ? data : undefined;
}

function add(socket: NftSocket, set: NftSet, elements: readonly RawElement[]): void {
  socket.transaction(
    "NFT_MSG_NEWSETELEM",
    chunks(elements).map((chunk) => addElements(set, chunk)),
  );
}

/** All at once; when one is not there the kernel refuses the whole, and each is deleted on its own. */
function remove(socket: NftSocket, set: NftSet, elements: readonly RawElement[]): void {
  const what = "NFT_MSG_DELSETELEM";
  try {
    socket.transaction(
      what,
      chunks(elements).map((chunk) => deleteElements(set, chunk)),
    );
  } catch (error) {
    if (!isMissing(error)) throw error;
    for (const element of elements) {
      try {
        socket.transaction(what, [deleteElements(set, [element])]);
      } catch (each) {
        if (!isMissing(each)) throw each;
      }
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof SyscallError && error.code === "ENOENT";
}

function chunks<T>(all: readonly T[]): readonly (readonly T[])[] {
  const count = Math.ceil(all.length / elementsPerMessage);
  return Array.from({ length: count }, (_, i) => all.slice(i * elementsPerMessage, (i + 1) * elementsPerMessage));
}
