import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { BlobWriter, ContentStore } from "../../content/content-store.ts";
import type { Descriptor } from "../../schema/image.ts";
import { imageErrors } from "../errors.ts";
import type { ByteProgress } from "../shared-work.ts";
import { networkFailure } from "./network-failure.ts";
import type { Repository } from "./repository.ts";
import { withRetries } from "./retry.ts";

/**
 * Fetches a blob into the store, unless it is there. A cut connection is gone on with where it stopped, and so is a partial file
 * that an earlier pull, another source or a killed engine left. Verified as a whole by its digest.
 */
export async function downloadBlob(
  ctx: OpContext,
  source: Repository,
  content: ContentStore,
  blob: Descriptor,
  onProgress: ByteProgress,
): Promise<void> {
  if (await content.has(blob.digest)) return;
  const ref = `pull-${blob.digest}`;
  for (;;) {
    await using writer = await content.writer(ctx, ref);
    const resumed = writer.offset > 0;
    if (writer.offset > blob.size) {
      await writer.discard();
      continue;
    }
    try {
      await fill(ctx, source, writer, blob, onProgress);
      await writer.commit({ digest: blob.digest, size: blob.size });
      return;
    } catch (error) {
      if (!isBerthError(error, "BLOB_DIGEST_MISMATCH", "BLOB_SIZE_MISMATCH")) throw error;
      // The store has thrown the file away. What was there before may have been at fault, or this registry is.
      if (!resumed) {
        throw imageErrors.REGISTRY_DIGEST_MISMATCH(
          { reference: `blob of ${source.path}`, expected: blob.digest, actual: "other bytes" },
          { cause: error },
        );
      }
    }
  }
}

/** Appends to `writer` until the blob's size is reached. */
async function fill(
  ctx: OpContext,
  source: Repository,
  writer: BlobWriter,
  blob: Descriptor,
  onProgress: ByteProgress,
): Promise<void> {
  const { connection } = source;
  let done = writer.offset;
  onProgress(done, blob.size);
  await withRetries(ctx, connection.retries, async (restart) => {
    while (done < blob.size) {
      const { body, offset } = await source.openBlob(ctx, blob.digest, done);
      // A registry that ignores ranges sends what we have once more.
      let skip = done - offset;
      if (skip < 0) {
        body.destroy();
        throw imageErrors.REGISTRY_RESPONSE_INVALID({
          host: connection.endpoint.host,
          reason: `blob range from ${offset}`,
        });
      }
      const before = done;
      try {
        for await (const chunk of body) {
          const piece: Buffer = skip > 0 ? chunk.subarray(skip) : chunk;
          skip = Math.max(0, skip - chunk.length);
          if (piece.length === 0) continue;
          if (done + piece.length > blob.size) {
            await writer.discard();
            throw imageErrors.REGISTRY_DIGEST_MISMATCH({
              reference: `blob of ${source.path}`,
              expected: `${blob.digest} with ${blob.size} bytes`,
              actual: "more",
            });
          }
          await writer.write(piece);
          done += piece.length;
          onProgress(done, blob.size);
        }
      } catch (error) {
        body.destroy();
        if (done > before) restart();
        throw networkFailure(error, connection.endpoint.host, ctx.signal);
      }
      if (done === before && done < blob.size) {
        // Ended in good order, but short.
        await writer.discard();
        throw imageErrors.REGISTRY_DIGEST_MISMATCH({
          reference: `blob of ${source.path}`,
          expected: `${blob.digest} with ${blob.size} bytes`,
          actual: `${done} bytes`,
        });
      }
    }
  });
}
