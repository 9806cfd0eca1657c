/** gRPC's messages on an HTTP/2 stream: a flag, a length of four bytes, the message. */
import type { Http2Stream } from "node:http2";
import { buildKitErrors } from "../errors.ts";

const headLength = 5;

export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(headLength + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, headLength);
  return framed;
}

/**
 * The stream's messages. Reading one is what lets the other side send more: a slow reader slows the sender. Ends with the
 * stream; a message that is compressed, cut short or longer than `limit` bytes is an error.
 */
export async function* messagesOf(stream: Http2Stream, limit: number): AsyncGenerator<Uint8Array> {
  let held: Buffer[] = [];
  let length = 0;
  let wanted: number | undefined;
  const take = (size: number): Buffer => {
    const [only] = held;
    const all = held.length === 1 && only !== undefined ? only : Buffer.concat(held, length);
    held = size < all.length ? [all.subarray(size)] : [];
    length -= size;
    return all.subarray(0, size);
  };
  // Whoever has read enough has still to answer.
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    const piece: Buffer = chunk;
    held.push(piece);
    length += piece.length;
    for (;;) {
      if (wanted === undefined) {
        if (length < headLength) break;
        const head = take(headLength);
        if (head[0] !== 0) throw buildKitErrors.BUILDKIT_MESSAGE_INVALID({ reason: "it is compressed" });
        wanted = head.readUInt32BE(1);
        if (wanted > limit) throw buildKitErrors.BUILDKIT_MESSAGE_TOO_LARGE({ size: wanted, limit });
      }
      if (length < wanted) break;
      const message = take(wanted);
      wanted = undefined;
      yield message;
    }
  }
  if (wanted !== undefined || length > 0) {
    throw buildKitErrors.BUILDKIT_MESSAGE_INVALID({ reason: "the stream ended within it" });
  }
}
