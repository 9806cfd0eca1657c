import { SyscallError } from "../syscall-error.ts";
import { NLM_F_ACK, type OutgoingMessage } from "./message.ts";
import { NetlinkSocket } from "./netlink-socket.ts";
import { batchBegin, batchEnd, decodeSet, getSet, type NftSet } from "./nft-messages.ts";

const NETLINK_NETFILTER = 12;

/** nf_tables over nfnetlink. */
export class NftSocket extends NetlinkSocket {
  constructor() {
    super(NETLINK_NETFILTER);
  }

  /** Undefined when the table or the set is not there. */
  findSet(table: string, name: string): NftSet | undefined {
    try {
      return decodeSet(this.get("NFT_MSG_GETSET", getSet(table, name)).body, table, name);
    } catch (error) {
      if (error instanceof SyscallError && error.code === "ENOENT") return undefined;
      throw error;
    }
  }

  /** One transaction: all of the messages, or none and the first one's error. */
  transaction(what: string, messages: readonly OutgoingMessage[]): void {
    const framed = [batchBegin, ...messages.map((each) => ({ ...each, flags: each.flags | NLM_F_ACK })), batchEnd];
    const begin = this.sendBatch(framed);
    const waiting = new Set(messages.map((_, i) => begin + 1 + i));
    let failed: SyscallError | undefined;
    while (waiting.size > 0) {
      for (const { sequence, error } of this.acknowledgements(what)) {
        // The whole batch is refused under the number of its beginning.
        if (sequence === begin && error !== undefined) throw error;
        if (waiting.delete(sequence)) failed ??= error;
      }
    }
    if (failed !== undefined) throw failed;
  }
}
