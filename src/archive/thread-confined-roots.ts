import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import type { Transferable } from "node:worker_threads";
import type { OpContext } from "../base/op-context.ts";
import { startThreadPool } from "../host/confinement.ts";
import { failpoints } from "../host/failpoints.ts";
import { ArchiveThread } from "./archive-thread.ts";
import { detectCompression, MAGIC_BYTES, type Compression } from "./compression.ts";
import { CreditWindow } from "./credit-window.ts";
import type {
  ConfinedRoot,
  ConfinedRoots,
  ExtractRequest,
  ExtractResult,
  FileStat,
  ListedFile,
  PackRequest,
} from "./confined-root.ts";
import { type Filters, filterThrough } from "./external-decompressor.ts";
import { IdleThreads } from "./idle-threads.ts";
import { peek } from "./peek.ts";
import { SourceThread } from "./source-thread.ts";
import { WINDOW, type WorkerCall, type WorkerResults } from "./worker-protocol.ts";

/** Root of idle workers: holds no files. A directory that stayed some thread's root could not be unmounted. */
const PARKING = "/proc/self/fdinfo";

/** From so many bytes on an archive is read, decompressed and hashed by a thread of its own. */
const OWN_SOURCE_THREAD_BYTES = 16 << 20;

export interface ThreadConfinedRootsOptions {
  /** Runs xz and bzip2, for archives that Node can't decompress; without it those are refused. */
  readonly processes?: Filters;
}

/** {@link ConfinedRoots} by worker threads that change their root. Needs root. */
export class ThreadConfinedRoots implements ConfinedRoots, AsyncDisposable {
  readonly #filters: Filters | undefined;
  readonly #idle = new IdleThreads<ArchiveThread>(2);
  readonly #idleSources = new IdleThreads<SourceThread>(1);

  constructor(options: ThreadConfinedRootsOptions = {}) {
    this.#filters = options.processes;
  }

  async open(ctx: OpContext, root: string): Promise<ConfinedRoot> {
    ctx.signal.throwIfAborted();
    await startThreadPool();
    const thread = this.#idle.take() ?? new ArchiveThread();
    try {
      await thread.enter(root);
    } catch (error) {
      await thread.terminate();
      throw error;
    }
    return new ThreadConfinedRoot(thread, {
      filters: this.#filters,
      sources: this.#idleSources,
      release: () => this.#release(thread),
    });
  }

  /** Ends the idle workers. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#idle[Symbol.asyncDispose]();
    await this.#idleSources[Symbol.asyncDispose]();
  }

  async #release(thread: ArchiveThread): Promise<void> {
    if (thread.alive && thread.idle) await thread.enter(PARKING);
    await this.#idle.giveBack(thread);
  }
}

interface RootParts {
  readonly filters: Filters | undefined;
  readonly sources: IdleThreads<SourceThread>;
  readonly release: () => Promise<void>;
}

class ThreadConfinedRoot implements ConfinedRoot {
  readonly #thread: ArchiveThread;
  readonly #parts: RootParts;
  #disposed = false;

  constructor(thread: ArchiveThread, parts: RootParts) {
    this.#thread = thread;
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
    ctx.signal.throwIfAborted();
    const first = Promise.withResolvers<void>();
    const { id, result } = this.#thread.call(
      { method: "pack", request },
      {
        onChunk: (chunk) => {
          first.resolve();
          stream.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
        },
      },
    );
    const cancel = () => this.#thread.send({ kind: "cancel", id });
    let taken = 0;
    const stream = new Readable({
      highWaterMark: 1,
      // The first read asks for the first piece, which the worker sends by itself.
      read: () => void (taken++ > 0 && this.#thread.send({ kind: "credit", id })),
      destroy: (error, done) => {
        cancel();
        done(error);
      },
    });
    const onAbort = () => stream.destroy(asError(ctx.signal.reason));
    ctx.signal.addEventListener("abort", onAbort, { once: true });
    result
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

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#parts.release();
  }

  async #extractWithSourceThread(
    ctx: OpContext,
    request: ExtractRequest,
    fd: number,
    compression: "none" | "gzip" | "zstd",
  ): Promise<ExtractResult> {
    const { source: _source, onProgress, ...rest } = request;
    const thread = this.#parts.sources.take() ?? new SourceThread();
    const { port, ended } = thread.start(fd, compression);
    const call: WorkerCall = {
      method: "extract",
      source: { kind: "port", port },
      request: { ...rest, compression: "none" },
    };
    try {
      const listener = onProgress === undefined ? {} : { onProgress };
      return this.#logged(ctx, await this.#begin(ctx, call, listener, [port]).result);
    } finally {
      port.close();
      await ended;
      await this.#parts.sources.giveBack(thread);
    }
  }

  async #extractStream(
    ctx: OpContext,
    request: ExtractRequest,
    stream: Readable,
    declared: Compression | "auto",
  ): Promise<ExtractResult> {
    const { source: _source, onProgress, compression: _compression, ...rest } = request;
    const { head, whole } = await peek(stream, MAGIC_BYTES);
    const found = declared === "auto" ? detectCompression(head) : declared;
    const external = found === "bzip2" || found === "xz";
    const chunks = external ? filterThrough(ctx, this.#parts.filters, found, whole) : whole;
    const call: WorkerCall = {
      method: "extract",
      source: { kind: "chunks" },
      request: { ...rest, compression: external ? "none" : found },
    };
    const window = new CreditWindow(WINDOW);
    const started = this.#begin(ctx, call, { onCredit: () => window.give() });
    const ended = started.result.finally(() => window.close());
    const pump = async () => {
      let bytes = 0;
      for await (const chunk of chunks) {
        if (!(await window.take())) return;
        bytes += chunk.length;
        // A copy of its own, so that it can be moved instead of cloned.
        const owned = new Uint8Array(chunk);
        this.#thread.send({ kind: "chunk", id: started.id, chunk: owned }, [owned.buffer]);
        onProgress?.(bytes);
      }
      this.#thread.send({ kind: "chunk", id: started.id, chunk: null });
    };
    const pumped = pump().catch((error: unknown) => {
      this.#thread.send({ kind: "cancel", id: started.id });
      throw error;
    });
    const [result, pumping] = await Promise.allSettled([ended, pumped]);
    // A broken source is the cause of what the worker then complains about.
    if (pumping.status === "rejected") throw pumping.reason;
    if (result.status === "rejected") throw result.reason;
    return this.#logged(ctx, result.value);
  }

  async #call<C extends WorkerCall>(
    ctx: OpContext,
    call: C,
    onProgress?: (bytes: number) => void,
  ): Promise<WorkerResults[C["method"]]> {
    return await this.#begin(ctx, call, onProgress === undefined ? {} : { onProgress }).result;
  }

  /** Starts a call that ends with the signal's reason when the context is aborted, after the worker has stopped. */
  #begin<C extends WorkerCall>(
    ctx: OpContext,
    call: C,
    listener: { readonly onProgress?: (bytes: number) => void; readonly onCredit?: () => void },
    transfer: readonly Transferable[] = [],
  ): { readonly id: number; readonly result: Promise<WorkerResults[C["method"]]> } {
    ctx.signal.throwIfAborted();
    if (failpoints.on) reach(call);
    const { id, result } = this.#thread.call(call, listener, transfer);
    const onAbort = () => this.#thread.send({ kind: "cancel", id });
    ctx.signal.addEventListener("abort", onAbort, { once: true });
    const guarded = async () => {
      try {
        return await result;
      } catch (error) {
        ctx.signal.throwIfAborted();
        throw error;
      } finally {
        ctx.signal.removeEventListener("abort", onAbort);
      }
    };
    return { id, result: guarded() };
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
    case "makeDirectories":
      return failpoints.beforeSync("archive.make-directories", call.path);
    case "remove":
      return failpoints.beforeSync("archive.remove", call.path);
    default:
  }
}
