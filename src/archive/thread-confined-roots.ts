import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { Readable } from "node:stream";
import type { Transferable } from "node:worker_threads";
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import { startThreadPool } from "../host/confinement.ts";
import { failpoints } from "../host/failpoints.ts";
import type { ArchiveThread } from "./archive-thread.ts";
import { detectCompression, MAGIC_BYTES, type Compression } from "./compression.ts";
import { CreditWindow } from "./credit-window.ts";
import type {
  ConfinedRoot,
  ConfinedRoots,
  DigestRequest,
  ExtractRequest,
  ExtractResult,
  FileStat,
  ListedFile,
  PackRequest,
  SpoolRequest,
} from "./confined-root.ts";
import { archiveErrors } from "./errors.ts";
import { type Filters, filterThrough } from "./external-decompressor.ts";
import { peek } from "./peek.ts";
import type { IndexedMember } from "./tar-index.ts";
import { type PooledThread, WorkerPool } from "./worker-pool.ts";
import { WINDOW, type WorkerCall, type WorkerResults } from "./worker-protocol.ts";

/** From so many bytes on an archive is read, decompressed and hashed by a thread of its own. */
const OWN_SOURCE_THREAD_BYTES = 16 << 20;

export interface ThreadConfinedRootsOptions {
  /** Runs xz and bzip2, for archives that Node can't decompress; without it those are refused. */
  readonly processes?: Filters;
}

/** {@link ConfinedRoots} by worker threads that change their root. Needs root. */
export class ThreadConfinedRoots implements ConfinedRoots, AsyncDisposable {
  readonly #filters: Filters | undefined;
  readonly #pool = new WorkerPool();

  constructor(options: ThreadConfinedRootsOptions = {}) {
    this.#filters = options.processes;
  }

  async open(ctx: OpContext, root: string): Promise<ConfinedRoot> {
    ctx.signal.throwIfAborted();
    await startThreadPool();
    let directory: FileHandle;
    try {
      directory = await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (error) {
      throw archiveErrors.CONFINEMENT_FAILED({ root, reason: messageOf(error) }, { cause: error });
    }
    return new ThreadConfinedRoot(directory, { path: root, filters: this.#filters, pool: this.#pool });
  }

  /** Ends the idle workers. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }
}

interface RootParts {
  /** For errors. */
  readonly path: string;
  readonly filters: Filters | undefined;
  readonly pool: WorkerPool;
}

type Listener = Parameters<ArchiveThread["call"]>[2];

/** A call under way. */
interface Running<T> {
  readonly result: Promise<T>;
  send(
    message: { readonly kind: "chunk"; readonly chunk: Uint8Array | null },
    transfer?: readonly Transferable[],
  ): void;
  send(message: { readonly kind: "credit" | "cancel" }): void;
}

/** Its directory stays open, so that every call meets the same one; a call has a thread of the pool as long as it lasts. */
class ThreadConfinedRoot implements ConfinedRoot {
  readonly #directory: FileHandle;
  readonly #parts: RootParts;
  readonly #running = new Map<ArchiveThread, Promise<unknown>>();
  #disposed = false;

  constructor(directory: FileHandle, parts: RootParts) {
    this.#directory = directory;
    this.#parts = parts;
  }

  async stat(ctx: OpContext, path: string, options: { readonly follow?: boolean } = {}): Promise<FileStat> {
    return await this.#call(ctx, { method: "stat", path, follow: options.follow ?? false });
  }

  async readFile(ctx: OpContext, path: string, maxBytes: number): Promise<Uint8Array> {
    return await this.#call(ctx, { method: "readFile", path, maxBytes });
  }

  async makeDirectories(
    ctx: OpContext,
    path: string,
    options: { readonly mode: number; readonly uid: number; readonly gid: number },
  ): Promise<void> {
    await this.#call(ctx, { method: "makeDirectories", path, ...options });
  }

  async digest(ctx: OpContext, request: DigestRequest): Promise<string> {
    return await this.#call(ctx, { method: "digest", request });
  }

  async list(ctx: OpContext, path: string): Promise<readonly ListedFile[]> {
    return await this.#call(ctx, { method: "list", path });
  }

  async diskUsage(ctx: OpContext, paths: readonly string[]): Promise<readonly number[]> {
    return await this.#call(ctx, { method: "diskUsage", paths });
  }

  async remove(ctx: OpContext, path: string): Promise<void> {
    await this.#call(ctx, { method: "remove", path });
  }

  async extract(ctx: OpContext, request: ExtractRequest): Promise<ExtractResult> {
    const { source, onProgress, compression, ...rest } = request;
    if ("stream" in source) return await this.#extractStream(ctx, request, source.stream, compression);
    await using file = await open(source.path, "r");
    const head = Buffer.alloc(MAGIC_BYTES);
    const { bytesRead } = await file.read(head, 0, MAGIC_BYTES, 0);
    const found = compression === "auto" ? detectCompression(head.subarray(0, bytesRead)) : compression;
    if (found === "bzip2" || found === "xz") {
      const stream = file.createReadStream({ start: 0, autoClose: false });
      return await this.#extractStream(ctx, request, stream, found);
    }
    if ((await file.stat()).size >= OWN_SOURCE_THREAD_BYTES) {
      if (failpoints.on) failpoints.beforeSync("archive.extract", request.into);
      return await this.#extractWithSourceThread(ctx, request, file.fd, found);
    }
    // The positional read above left the file's own offset at 0, where the worker reads on.
    const call: WorkerCall = {
      method: "extract",
      source: { kind: "fd", fd: file.fd },
      request: { ...rest, compression: found },
    };
    const result = await this.#call(ctx, call, onProgress);
    return this.#logged(ctx, result);
  }

  async pack(ctx: OpContext, request: PackRequest): Promise<Readable> {
    const first = Promise.withResolvers<void>();
    let taken = 0;
    const stream = new Readable({
      highWaterMark: 1,
      // The first read asks for the first piece, which the worker sends by itself.
      read: () => void (taken++ > 0 && running.send({ kind: "credit" })),
      destroy: (error, done) => {
        running.send({ kind: "cancel" });
        done(error);
      },
    });
    const running = await this.#begin(
      ctx,
      { method: "pack", request },
      {
        onChunk: (chunk) => {
          first.resolve();
          stream.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
        },
      },
    );
    const onAbort = () => stream.destroy(asError(ctx.signal.reason));
    ctx.signal.addEventListener("abort", onAbort, { once: true });
    running.result
      .then(
        () => stream.push(null),
        (error: unknown) => {
          first.reject(error);
          stream.destroy(asError(error));
        },
      )
      .finally(() => ctx.signal.removeEventListener("abort", onAbort));
    // Errors about the path itself come before the stream is handed out.
    stream.on("error", () => {});
    await first.promise;
    return stream;
  }

  /** Ends what is still running. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    const ended = [...this.#running].map(async ([thread, result]) => {
      await thread.terminate();
      // Its caller has the failure.
      await result.catch(() => {});
    });
    await Promise.all(ended);
    await this.#directory.close();
  }

  async #extractWithSourceThread(
    ctx: OpContext,
    request: ExtractRequest,
    fd: number,
    compression: "none" | "gzip" | "zstd",
  ): Promise<ExtractResult> {
    const { source: _source, onProgress, ...rest } = request;
    await using unused = new AsyncDisposableStack();
    const lease = unused.use(await this.#parts.pool.take(ctx, "extract"));
    await using source = this.#parts.pool.takeSource();
    const { port, ended } = source.thread.start(fd, compression);
    const call: WorkerCall = {
      method: "extract",
      source: { kind: "port", port },
      request: { ...rest, compression: "none" },
    };
    try {
      // From here on the call gives it back.
      unused.move();
      const running = await this.#on(lease, ctx, call, onProgress === undefined ? {} : { onProgress }, [port]);
      return this.#logged(ctx, await running.result);
    } finally {
      port.close();
      await ended;
    }
  }

  async #extractStream(
    ctx: OpContext,
    request: ExtractRequest,
    stream: Readable,
    declared: Compression | "auto",
  ): Promise<ExtractResult> {
    const { source: _source, onProgress, compression: _compression, ...rest } = request;
    const { chunks, compression } = await this.#decompressible(ctx, stream, declared);
    const call = { method: "extract", source: { kind: "chunks" }, request: { ...rest, compression } } as const;
    return this.#logged(ctx, await this.#feed(ctx, call, chunks, onProgress));
  }

  async spool(ctx: OpContext, request: SpoolRequest): Promise<readonly IndexedMember[] | undefined> {
    const { chunks, compression } = await this.#decompressible(ctx, request.stream, "auto");
    return await this.#feed(ctx, { method: "spool", compression, fd: request.fd }, chunks);
  }

  /** With what the worker can't decompress decompressed. */
  async #decompressible(
    ctx: OpContext,
    stream: Readable,
    declared: Compression | "auto",
  ): Promise<{ readonly chunks: AsyncIterable<Buffer>; readonly compression: "none" | "gzip" | "zstd" }> {
    const { head, whole } = await peek(stream, MAGIC_BYTES);
    const found = declared === "auto" ? detectCompression(head) : declared;
    if (found !== "bzip2" && found !== "xz") return { chunks: whole, compression: found };
    return { chunks: filterThrough(ctx, this.#parts.filters, found, whole), compression: "none" };
  }

  /** A call that takes a stream piece by piece. */
  async #feed<C extends WorkerCall>(
    ctx: OpContext,
    call: C,
    chunks: AsyncIterable<Buffer>,
    onProgress?: (bytes: number) => void,
  ): Promise<WorkerResults[C["method"]]> {
    const window = new CreditWindow(WINDOW);
    const running = await this.#begin(ctx, call, { onCredit: () => window.give() });
    const ended = running.result.finally(() => window.close());
    const pump = async () => {
      let bytes = 0;
      for await (const chunk of chunks) {
        if (!(await window.take())) return;
        bytes += chunk.length;
        // A copy of its own, so that it can be moved instead of cloned.
        const owned = new Uint8Array(chunk);
        running.send({ kind: "chunk", chunk: owned }, [owned.buffer]);
        onProgress?.(bytes);
      }
      running.send({ kind: "chunk", chunk: null });
    };
    const pumped = pump().catch((error: unknown) => {
      running.send({ kind: "cancel" });
      throw error;
    });
    const [result, pumping] = await Promise.allSettled([ended, pumped]);
    // A broken source is the cause of what the worker then complains about.
    if (pumping.status === "rejected") throw pumping.reason;
    if (result.status === "rejected") throw result.reason;
    return result.value;
  }

  async #call<C extends WorkerCall>(
    ctx: OpContext,
    call: C,
    onProgress?: (bytes: number) => void,
  ): Promise<WorkerResults[C["method"]]> {
    const listener = onProgress === undefined ? {} : { onProgress };
    return await (await this.#begin(ctx, call, listener)).result;
  }

  /** Starts a call when its turn has come. */
  async #begin<C extends WorkerCall>(
    ctx: OpContext,
    call: C,
    listener: Listener,
  ): Promise<Running<WorkerResults[C["method"]]>> {
    if (failpoints.on) reach(call);
    return await this.#on(await this.#parts.pool.take(ctx, call.method), ctx, call, listener);
  }

  /**
   * Starts a call on a thread, which is given back after it. When the context is aborted the call ends with the signal's
   * reason, after the worker has stopped.
   */
  async #on<C extends WorkerCall>(
    lease: PooledThread<ArchiveThread>,
    ctx: OpContext,
    call: C,
    listener: Listener,
    transfer: readonly Transferable[] = [],
  ): Promise<Running<WorkerResults[C["method"]]>> {
    if (this.#disposed || ctx.signal.aborted) {
      await lease[Symbol.asyncDispose]();
      ctx.signal.throwIfAborted();
      throw archiveErrors.ARCHIVE_WORKER_LOST({ root: this.#parts.path, reason: "the root was closed" });
    }
    const { thread } = lease;
    const root = { fd: this.#directory.fd, path: this.#parts.path };
    const { id, result } = thread.call(root, call, listener, transfer);
    const onAbort = () => thread.send({ kind: "cancel", id });
    ctx.signal.addEventListener("abort", onAbort, { once: true });
    let over = false;
    const guarded = async () => {
      try {
        return await result;
      } catch (error) {
        ctx.signal.throwIfAborted();
        throw error;
      } finally {
        ctx.signal.removeEventListener("abort", onAbort);
        this.#running.delete(thread);
        over = true;
        await lease[Symbol.asyncDispose]();
      }
    };
    const running = guarded();
    this.#running.set(thread, running);
    return {
      result: running,
      // The thread may be another call's by then.
      send: (message, moved: readonly Transferable[] = []) => {
        if (!over) thread.send({ ...message, id }, moved);
      },
    };
  }

  #logged(ctx: OpContext, result: WorkerResults["extract"]): ExtractResult {
    const { notes, ...rest } = result;
    if (notes.length > 0) ctx.log.warn({ notes }, "some attributes of unpacked files were not kept");
    return rest;
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** Only what changes something. */
function reach(call: WorkerCall): void {
  switch (call.method) {
    case "extract":
      return failpoints.beforeSync("archive.extract", call.request.into);
    case "spool":
      return failpoints.beforeSync("archive.extract", "spool");
    case "makeDirectories":
      return failpoints.beforeSync("archive.make-directories", call.path);
    case "remove":
      return failpoints.beforeSync("archive.remove", call.path);
    default:
  }
}
