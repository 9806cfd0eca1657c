import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { opendir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import { mkdirSync, rm } from "../host/files.ts";
import type { BlobInfo, BlobWriter, ContentStore } from "./content-store.ts";
import { digestOf, hexOf } from "./digest.ts";
import { contentErrors } from "./errors.ts";
import { openFileBlobWriter } from "./file-blob-writer.ts";
import { publishBytes } from "./publish-file.ts";

/** Manifests and configurations are read whole; beyond this they are refused, bytes. */
const SMALL_BLOB_LIMIT = 8 << 20;

/**
 * Blobs as files: `<root>/blobs/sha256/<hex>` and partial ones in `<root>/ingest/<sha256 of the ref>`.
 *
 * INVARIANTS
 *  - A file under `blobs` is whole, synced and has the digest that it is named after.
 *  - At most one writer of a ref is open; the next waits for it.
 */
export class FileContentStore implements ContentStore {
  readonly #blobs: string;
  readonly #ingest: string;
  readonly #writers = new KeyedMutex();
  readonly #openPartials = new Set<string>();

  constructor(options: { readonly root: string }) {
    this.#blobs = join(options.root, "blobs", "sha256");
    this.#ingest = join(options.root, "ingest");
    mkdirSync(this.#blobs, { recursive: true, mode: 0o700 });
    mkdirSync(this.#ingest, { recursive: true, mode: 0o700 });
  }

  async has(digest: string): Promise<boolean> {
    return (await this.stat(digest)) !== undefined;
  }

  async stat(digest: string): Promise<BlobInfo | undefined> {
    try {
      return { digest, size: (await stat(this.#blobPath(hexOf(digest)))).size };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async path(digest: string): Promise<string> {
    await this.#mustStat(digest);
    return this.#blobPath(hexOf(digest));
  }

  async readSmall(digest: string): Promise<Uint8Array> {
    const { size } = await this.#mustStat(digest);
    if (size > SMALL_BLOB_LIMIT) throw contentErrors.BLOB_TOO_LARGE({ digest, size, limit: SMALL_BLOB_LIMIT });
    const bytes = await readFile(this.#blobPath(hexOf(digest)));
    const actual = digestOf(bytes);
    if (actual !== digest) throw contentErrors.BLOB_CORRUPT({ digest, actual });
    return bytes;
  }

  async open(digest: string, range?: { readonly start: number; readonly end?: number }): Promise<Readable> {
    return createReadStream(await this.path(digest), { ...range, highWaterMark: 256 << 10 });
  }

  async put(ctx: OpContext, bytes: Uint8Array, expected?: string): Promise<BlobInfo> {
    ctx.signal.throwIfAborted();
    const digest = digestOf(bytes);
    if (expected !== undefined && expected !== digest) {
      throw contentErrors.BLOB_DIGEST_MISMATCH({ subject: "blob", expected, actual: digest });
    }
    const info = { digest, size: bytes.length };
    // A file that is there has this digest, but a disk may have cut it: the size is the cheap check.
    if ((await this.stat(digest))?.size !== info.size) {
      await publishBytes(this.#ingest, this.#blobPath(hexOf(digest)), bytes);
    }
    return info;
  }

  async writer(ctx: OpContext, ref: string): Promise<BlobWriter> {
    const partial = join(this.#ingest, createHash("sha256").update(ref).digest("hex"));
    const turn = await acquireUnlessAborted(this.#writers, partial, ctx.signal);
    this.#openPartials.add(partial);
    const lock: Disposable = {
      [Symbol.dispose]: () => {
        this.#openPartials.delete(partial);
        turn[Symbol.dispose]();
      },
    };
    try {
      return await openFileBlobWriter(ctx, { ref, partial, lock, blobPath: (hex) => this.#blobPath(hex) });
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  async remove(_ctx: OpContext, digest: string): Promise<void> {
    await rm(this.#blobPath(hexOf(digest)), { force: true });
  }

  async *list(): AsyncIterable<BlobInfo> {
    for await (const entry of await opendir(this.#blobs)) {
      const info = /^[0-9a-f]{64}$/.test(entry.name) ? await this.stat(`sha256:${entry.name}`) : undefined;
      if (info !== undefined) yield info;
    }
  }

  async onDisk(digest: string): Promise<number> {
    return await blocksOf(this.#blobPath(hexOf(digest)));
  }

  async diskUsage(): Promise<number> {
    let bytes = 0;
    for (const directory of [this.#blobs, this.#ingest]) {
      bytes += await blocksOf(directory);
      for await (const { name } of await opendir(directory)) bytes += await blocksOf(join(directory, name));
    }
    return bytes;
  }

  async removeStalePartials(ctx: OpContext, olderThanMs: number): Promise<void> {
    const limit = Date.now() - olderThanMs;
    for await (const entry of await opendir(this.#ingest)) {
      ctx.signal.throwIfAborted();
      const path = join(this.#ingest, entry.name);
      if (this.#openPartials.has(path)) continue;
      try {
        if ((await stat(path)).mtimeMs <= limit) await rm(path, { force: true });
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    }
  }

  #blobPath(hex: string): string {
    return join(this.#blobs, hex);
  }

  async #mustStat(digest: string): Promise<BlobInfo> {
    const info = await this.stat(digest);
    if (info === undefined) throw contentErrors.BLOB_NOT_FOUND({ digest });
    return info;
  }
}

/** The key's turn, or the signal's reason; a turn that comes too late is passed on. */
async function acquireUnlessAborted(mutex: KeyedMutex, key: string, signal: AbortSignal): Promise<Disposable> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const turn = mutex.acquire(key);
  try {
    return await Promise.race([turn, aborted.promise]);
  } catch (error) {
    void turn.then((late) => late[Symbol.dispose]());
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

/** Bytes on disk; 0 for a file that is not there. */
async function blocksOf(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * 512;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}
