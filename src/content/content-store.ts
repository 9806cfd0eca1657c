/** Content-addressed blobs (OCI image-layout semantics): `blobs/sha256/<hex>`, immutable, verified on every write. */
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";

export interface BlobInfo {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

export interface ContentStore {
  has(digest: string): Promise<boolean>;
  stat(digest: string): Promise<BlobInfo | undefined>;
  /** Path of a blob, for readers that want a file. `BLOB_NOT_FOUND` when absent. */
  path(digest: string): Promise<string>;
  /** The bytes of a small blob (a manifest, a configuration), verified again. At most 8 MiB, else `BLOB_TOO_LARGE`. */
  readSmall(digest: string): Promise<Uint8Array>;
  open(digest: string, range?: { readonly start: number; readonly end?: number }): Promise<Readable>;
  /** Stores bytes; returns their digest. */
  put(ctx: OpContext, bytes: Uint8Array, expected?: string): Promise<BlobInfo>;
  /**
   * Starts or resumes writing a blob. `ref` names the partial file, so that a download that was cut goes on where it
   * stopped (`writer.offset`), also after an engine restart.
   */
  writer(ctx: OpContext, ref: string): Promise<BlobWriter>;
  remove(ctx: OpContext, digest: string): Promise<void>;
  list(): AsyncIterable<BlobInfo>;
  /** Bytes on disk of a blob, as du(1) counts; 0 when absent. */
  onDisk(digest: string): Promise<number>;
  /** Bytes on disk of all blobs and partial files. */
  diskUsage(): Promise<number>;
  /** Partial files last written before `olderThanMs` ago are removed. */
  removeStalePartials(ctx: OpContext, olderThanMs: number): Promise<void>;
}

export interface BlobWriter extends AsyncDisposable {
  /** Bytes already there. */
  readonly offset: number;
  write(chunk: Uint8Array): Promise<void>;
  /** Syncs, verifies and publishes. `BLOB_DIGEST_MISMATCH` or `BLOB_SIZE_MISMATCH` removes the partial file. Disposing without it keeps the partial. */
  commit(expected?: { readonly digest?: string; readonly size?: number }): Promise<BlobInfo>;
  /** Throws away what was written. */
  discard(): Promise<void>;
}
