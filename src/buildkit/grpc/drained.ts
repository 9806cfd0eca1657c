/** Resolves when a stream takes more, or has closed. */
export async function drained(stream: NodeJS.EventEmitter): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => resolve();
  stream.on("drain", done).on("close", done);
  try {
    await promise;
  } finally {
    // A stream lives for many messages, and must not keep a listener of each.
    stream.off("drain", done).off("close", done);
  }
}
