import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";

const blockSize = 64 * 1024;
const zeros = Buffer.alloc(blockSize);

/** Writes a stream to an empty file; blocks of zeros are left out, and read as zeros. */
export async function writeSparse(
  ctx: OpContext,
  file: FileHandle,
  source: Readable,
  { maxBytes, tooLarge }: { readonly maxBytes: number; readonly tooLarge: (bytes: number) => Error },
): Promise<void> {
  let at = 0;
  for await (const chunk of source) {
    ctx.signal.throwIfAborted();
    const bytes: Buffer = chunk;
    if (at + bytes.length > maxBytes) throw tooLarge(at + bytes.length);
    for (let start = 0; start < bytes.length; ) {
      // Pieces end at the file's block boundaries, whatever the chunks are.
      const piece = bytes.subarray(start, start + blockSize - (at % blockSize));
      if (!piece.equals(zeros.subarray(0, piece.length))) await writeAll(file, piece, at);
      at += piece.length;
      start += piece.length;
    }
  }
  await file.truncate(at);
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await file.write(bytes, written, bytes.length - written, at + written)).bytesWritten;
  }
}
