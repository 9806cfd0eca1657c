import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import { failpoints } from "../host/failpoints.ts";
import { rm } from "../host/files.ts";
import type { BlobInfo, BlobWriter } from "./content-store.ts";
import { contentErrors } from "./errors.ts";
import { syncAndRename, writeAll } from "./publish-file.ts";

/** How much of a resumed file is read and hashed at a time, bytes. */
const REHASH_CHUNK = 1 << 20;

export interface FileBlobWriterOptions {
  readonly ref: string;
  /** Path of the partial file. */
  readonly partial: string;
  /** Where a blob with this hex digest is published. */
  readonly blobPath: (hex: string) => string;
  /** Held while the writer is open, so that no other one writes the same partial file. */
  readonly lock: Disposable;
}

/** Opens or resumes the partial file of `ref`. What is already there is hashed again, never trusted. */
export async function openFileBlobWriter(ctx: OpContext, options: FileBlobWriterOptions): Promise<BlobWriter> {
  if (failpoints.on) await failpoints.before("file.write", options.partial);
  const file = await open(options.partial, "a+", 0o600);
  try {
    const hash = createHash("sha256");
    const offset = await rehash(ctx, file, hash);
    return new FileBlobWriter(ctx, options, file, hash, offset);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function rehash(ctx: OpContext, file: FileHandle, hash: Hash): Promise<number> {
  const buffer = Buffer.allocUnsafe(REHASH_CHUNK);
  let offset = 0;
  for (;;) {
    ctx.signal.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
    if (bytesRead === 0) return offset;
    hash.update(buffer.subarray(0, bytesRead));
    offset += bytesRead;
  }
}

class FileBlobWriter implements BlobWriter {
  readonly #ctx: OpContext;
  readonly #options: FileBlobWriterOptions;
  readonly #file: FileHandle;
  readonly #hash: Hash;
  #offset: number;
  #closed = false;

  constructor(ctx: OpContext, options: FileBlobWriterOptions, file: FileHandle, hash: Hash, offset: number) {
    this.#ctx = ctx;
    this.#options = options;
    this.#file = file;
    this.#hash = hash;
    this.#offset = offset;
  }

  get offset(): number {
    return this.#offset;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#assertOpen();
    this.#ctx.signal.throwIfAborted();
    try {
      await writeAll(this.#file, chunk, this.#options.partial);
    } catch (error) {
      // What would be resumed later must not keep a full disk full.
      if (isBerthError(error, "CONTENT_DISK_FULL")) await this.discard();
      throw error;
    }
    this.#hash.update(chunk);
    this.#offset += chunk.length;
  }

  async commit(expected: { readonly digest?: string; readonly size?: number } = {}): Promise<BlobInfo> {
    this.#assertOpen();
    const size = this.#offset;
    const subject = `"${this.#options.ref}"`;
    if (expected.size !== undefined && expected.size !== size) {
      await this.discard();
      throw contentErrors.BLOB_SIZE_MISMATCH({ subject, expected: expected.size, actual: size });
    }
    const hex = this.#hash.copy().digest("hex");
    const digest = `sha256:${hex}`;
    if (expected.digest !== undefined && expected.digest !== digest) {
      await this.discard();
      throw contentErrors.BLOB_DIGEST_MISMATCH({ subject, expected: expected.digest, actual: digest });
    }
    await syncAndRename(this.#file, this.#options.partial, this.#options.blobPath(hex));
    await this[Symbol.asyncDispose]();
    return { digest, size };
  }

  async discard(): Promise<void> {
    if (this.#closed) return;
    await rm(this.#options.partial, { force: true });
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.#file.close();
    } finally {
      this.#options.lock[Symbol.dispose]();
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw contentErrors.BLOB_WRITER_CLOSED({ ref: this.#options.ref });
  }
}
