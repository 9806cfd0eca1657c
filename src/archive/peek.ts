import type { Readable } from "node:stream";

/** The first bytes of a stream (fewer when it is shorter), and the stream from its beginning, as chunks. */
export async function peek(
  stream: Readable,
  count: number,
): Promise<{ readonly head: Buffer; readonly whole: AsyncIterable<Buffer> }> {
  // The caller's stream stays open: it may be a request whose answer is still to be sent.
  const iterator: AsyncIterator<Buffer> = stream.iterator({ destroyOnReturn: false });
  const first: Buffer[] = [];
  let length = 0;
  while (length < count) {
    const next = await iterator.next();
    if (next.done === true) break;
    first.push(next.value);
    length += next.value.length;
  }
  async function* whole(): AsyncGenerator<Buffer, void, void> {
    try {
      yield* first;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { head: Buffer.concat(first).subarray(0, count), whole: whole() };
}
