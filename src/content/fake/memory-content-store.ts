import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { KeyedMutex } from "../../base/keyed-mutex.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { BlobInfo, BlobWriter, ContentStore } from "../content-store.ts";
import { digestOf, hexOf } from "../digest.ts";
import { contentErrors } from "../errors.ts";

interface Partial {
  bytes: Buffer;
  writtenAt: number;
}

/** The content store in memory. `path` writes the blob to a temporary directory, which disposing removes. */
export class MemoryContentStore implements ContentStore, AsyncDisposable {
  readonly #blobs = new Map<string, Buffer>();
  readonly #partials = new Map<string, Partial>();
  readonly #writers = new KeyedMutex();
  readonly #open = new Set<string>();
  #directory: Promise<string> | undefined;

  async has(digest: string): Promise<boolean> {
    return (await this.stat(digest)) !== undefined;
  }

  async stat(digest: string): Promise<BlobInfo | undefined> {
    hexOf(digest);
    const bytes = this.#blobs.get(digest);
    return bytes === undefined ? undefined : { digest, size: bytes.length };
  }

  async path(digest: string): Promise<string> {
    const bytes = this.#bytes(digest);
    this.#directory ??= mkdtemp(join(tmpdir(), "berth-content-"));
    const path = join(await this.#directory, hexOf(digest));
    await writeFile(path, bytes);
    return path;
  }

  async readSmall(digest: string): Promise<Uint8Array> {
    const bytes = this.#bytes(digest);
    const limit = 8 << 20;
    if (bytes.length > limit) throw contentErrors.BLOB_TOO_LARGE({ digest, size: bytes.length, limit });
    return bytes;
  }

  async open(digest: string, range?: { readonly start: number; readonly end?: number }): Promise<Readable> {
    const end = range?.end === undefined ? undefined : range.end + 1;
    return Readable.from([this.#bytes(digest).subarray(range?.start ?? 0, end)]);
  }

  async put(ctx: OpContext, bytes: Uint8Array, expected?: string): Promise<BlobInfo> {
    ctx.signal.throwIfAborted();
    const digest = digestOf(bytes);
    if (expected !== undefined && expected !== digest) {
      throw contentErrors.BLOB_DIGEST_MISMATCH({ subject: "blob", expected, actual: digest });
    }
    this.#blobs.set(digest, Buffer.from(bytes));
    return { digest, size: bytes.length };
  }

  async writer(ctx: OpContext, ref: string): Promise<BlobWriter> {
    ctx.signal.throwIfAborted();
    const turn = await this.#writers.acquire(ref);
    if (ctx.signal.aborted) {
      turn[Symbol.dispose]();
      throw ctx.signal.reason;
    }
    const partial = this.#partials.get(ref) ?? { bytes: Buffer.alloc(0), writtenAt: Date.now() };
    this.#partials.set(ref, partial);
    this.#open.add(ref);
    let closed = false;
    const close = () => {
      if (closed) return;
      closed = true;
      this.#open.delete(ref);
      turn[Symbol.dispose]();
    };
    const discard = async () => {
      if (!closed) this.#partials.delete(ref);
      close();
    };
    const assertOpen = () => {
      if (closed) throw contentErrors.BLOB_WRITER_CLOSED({ ref });
    };
    return {
      get offset() {
        return partial.bytes.length;
      },
      write: async (chunk) => {
        assertOpen();
        ctx.signal.throwIfAborted();
        partial.bytes = Buffer.concat([partial.bytes, chunk]);
        partial.writtenAt = Date.now();
      },
      commit: async (expected = {}) => {
        assertOpen();
        const info = { digest: digestOf(partial.bytes), size: partial.bytes.length };
        const subject = `"${ref}"`;
        await discard();
        if (expected.size !== undefined && expected.size !== info.size) {
          throw contentErrors.BLOB_SIZE_MISMATCH({ subject, expected: expected.size, actual: info.size });
        }
        if (expected.digest !== undefined && expected.digest !== info.digest) {
          throw contentErrors.BLOB_DIGEST_MISMATCH({ subject, expected: expected.digest, actual: info.digest });
        }
        this.#blobs.set(info.digest, partial.bytes);
        return info;
      },
      discard,
      [Symbol.asyncDispose]: async () => close(),
    };
  }

  async remove(_ctx: OpContext, digest: string): Promise<void> {
    hexOf(digest);
    this.#blobs.delete(digest);
  }

  async *list(): AsyncIterable<BlobInfo> {
    for (const [digest, bytes] of this.#blobs) yield { digest, size: bytes.length };
  }

  async onDisk(digest: string): Promise<number> {
    return this.#blobs.get(digest)?.length ?? 0;
  }

  async diskUsage(): Promise<number> {
    return [...this.#blobs.values()].reduce((sum, { length }) => sum + length, 0);
  }

  async removeStalePartials(_ctx: OpContext, olderThanMs: number): Promise<void> {
    for (const [ref, partial] of this.#partials) {
      if (!this.#open.has(ref) && partial.writtenAt <= Date.now() - olderThanMs) this.#partials.delete(ref);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#directory !== undefined) await rm(await this.#directory, { recursive: true, force: true });
  }

  #bytes(digest: string): Buffer {
    hexOf(digest);
    const bytes = this.#blobs.get(digest);
    if (bytes === undefined) throw contentErrors.BLOB_NOT_FOUND({ digest });
    return bytes;
  }
}
