/**
 * The archive worker's thread: goes behind the wall, then serves calls. Everything it needs is imported before, since
 * afterwards no path of the host exists for it. Descriptors are the process's and are opened by the engine's thread.
 */
import { openSync, readSync } from "node:fs";
import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { parentPort } from "node:worker_threads";
import { BerthError, messageOf } from "../base/errors.ts";
import { confineThread, linuxFileCalls } from "../host/confinement.ts";
import { CreditWindow } from "./credit-window.ts";
import { archiveErrors } from "./errors.ts";
import { PortSource } from "./port-source.ts";
import { spoolArchive } from "./tar-index.ts";
import { TreeFiles } from "./tree-files.ts";
import {
  decompress,
  digestPath,
  extractChunks,
  listTree,
  makeDirectories,
  packPath,
  readWholeFile,
  removePath,
  statPath,
} from "./tree-operations.ts";
import { diskUsage } from "./tree-usage.ts";
import { type FromWorker, type ToWorker, toFailure, WINDOW, type WorkerCall } from "./worker-protocol.ts";

/** Root of an idle worker: holds no files. A directory that stayed some thread's root could not be unmounted. */
const PARKING = "/proc/self/fdinfo";

/** Between so many files the thread looks at its messages. */
const STEPS_OF_A_TURN = 32;

/** Bytes of one read of a source file. */
const READ_CHUNK = 1 << 20;

interface Running {
  readonly abort: AbortController;
  /** Where a streamed source's pieces go. */
  onChunk?: (chunk: Uint8Array | null) => void;
  /** The consumer of a pack took a piece. */
  onCredit?: () => void;
}

const port = parentPort;
if (port === null) throw new Error("archive-worker runs as a worker thread only");

const parking = openSync(PARKING, "r");
const files = new TreeFiles(linuxFileCalls());
const running = new Map<number, Running>();
let thread: ReturnType<typeof confineThread> | undefined;

port.on("message", (message: ToWorker) => {
  switch (message.kind) {
    case "call":
      void serve(message);
      break;
    case "chunk":
      running.get(message.id)?.onChunk?.(message.chunk);
      break;
    case "credit":
      running.get(message.id)?.onCredit?.();
      break;
    case "cancel":
      running.get(message.id)?.abort.abort(new Error("cancelled"));
      break;
  }
});

function send(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}

async function serve({ id, root, rootPath, call }: Extract<ToWorker, { kind: "call" }>): Promise<void> {
  const entry: Running = { abort: new AbortController() };
  running.set(id, entry);
  let answer: FromWorker;
  try {
    enter(root, rootPath);
    answer = { kind: "result", id, value: await perform(id, call, entry) };
  } catch (error) {
    const named = error instanceof BerthError || !("path" in call) ? error : operationFailed(call.path, error);
    answer = { kind: "failure", id, error: toFailure(named) };
  }
  running.delete(id);
  // First: whoever has the answer may unmount the directory.
  thread?.enter(parking);
  send(answer);
}

function enter(root: number, path: string): void {
  try {
    thread ??= confineThread();
    thread.enter(root);
  } catch (error) {
    throw archiveErrors.CONFINEMENT_FAILED({ root: path, reason: messageOf(error) }, { cause: error });
  }
}

async function perform(id: number, call: WorkerCall, entry: Running): Promise<unknown> {
  switch (call.method) {
    case "stat":
      return statPath(files, call.path, call.follow);
    case "readFile":
      return readWholeFile(files, call.path, call.maxBytes);
    case "makeDirectories":
      return makeDirectories(files, call.path, call);
    case "list":
      return listTree(files, call.path);
    case "diskUsage":
      return await diskUsages(call.paths, entry.abort.signal);
    case "digest":
      return await digest(call, entry.abort.signal);
    case "remove":
      return removePath(files, call.path);
    case "pack":
      return await pack(id, call, entry);
    case "extract":
      return await extract(id, call, entry);
    case "spool":
      return await spool(id, call, entry);
  }
}

/** Between the trees the thread looks at its messages, so that it can be cancelled. */
async function diskUsages(paths: readonly string[], signal: AbortSignal): Promise<readonly number[]> {
  const sizes: number[] = [];
  for (const path of paths) {
    sizes.push(diskUsage(files, path));
    await nextTurn();
    signal.throwIfAborted();
  }
  return sizes;
}

async function digest(call: Extract<WorkerCall, { method: "digest" }>, signal: AbortSignal): Promise<string> {
  const digesting = digestPath(files, call.request);
  let step = digesting.next();
  for (let steps = 1; step.done !== true; steps++) {
    if (steps % STEPS_OF_A_TURN === 0) await nextTurn();
    signal.throwIfAborted();
    step = digesting.next();
  }
  return step.value;
}

async function extract(id: number, call: Extract<WorkerCall, { method: "extract" }>, entry: Running): Promise<unknown> {
  const { compression } = call.request;
  const { signal } = entry.abort;
  if (call.source.kind === "port") {
    const source = new PortSource(call.source.port, signal);
    return await extractChunks(
      files,
      call.request,
      source.pieces((bytes) => send({ kind: "progress", id, bytes })),
      source,
    );
  }
  if (call.source.kind === "fd" && compression === "none") {
    return await extractChunks(files, call.request, fileChunks(id, call.source.fd, signal));
  }
  const source =
    call.source.kind === "fd" ? Readable.from(fileChunks(id, call.source.fd, signal, true)) : arriving(id, entry);
  try {
    return await extractChunks(files, call.request, decompress(source, compression));
  } finally {
    source.destroy();
  }
}

async function spool(id: number, call: Extract<WorkerCall, { method: "spool" }>, entry: Running): Promise<unknown> {
  const source = arriving(id, entry);
  try {
    return await spoolArchive(decompress(source, call.compression), call.fd);
  } finally {
    source.destroy();
  }
}

/** A file in pieces. Between them the thread looks at its messages, so that it can be cancelled. */
async function* fileChunks(id: number, fd: number, signal: AbortSignal, fresh = false): AsyncGenerator<Buffer> {
  let buffer = Buffer.allocUnsafeSlow(READ_CHUNK);
  let bytes = 0;
  for (;;) {
    signal.throwIfAborted();
    const read = readSync(fd, buffer, 0, buffer.length, null);
    if (read === 0) return;
    bytes += read;
    send({ kind: "progress", id, bytes });
    yield buffer.subarray(0, read);
    if (fresh) buffer = Buffer.allocUnsafeSlow(READ_CHUNK);
    await nextTurn();
  }
}

/** A streamed source: pieces arrive as messages, each answered by a credit when it was taken. */
function arriving(id: number, entry: Running): Readable {
  const source = new Readable({
    highWaterMark: 1,
    read() {
      send({ kind: "credit", id });
    },
  });
  entry.onChunk = (chunk) =>
    source.push(chunk === null ? null : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  entry.abort.signal.addEventListener("abort", () => source.destroy(new Error("cancelled")));
  return source;
}

async function pack(id: number, call: Extract<WorkerCall, { method: "pack" }>, entry: Running): Promise<void> {
  const { signal } = entry.abort;
  const window = new CreditWindow(WINDOW);
  entry.onCredit = () => window.give();
  signal.addEventListener("abort", () => window.close());
  for (const chunk of packPath(files, call.request)) {
    if (!(await window.take())) break;
    const owned = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    send({ kind: "chunk", id, chunk: owned }, [owned.buffer as ArrayBuffer]);
    await nextTurn();
  }
  signal.throwIfAborted();
}

function operationFailed(path: string, error: unknown): BerthError {
  return archiveErrors.PATH_OPERATION_FAILED({ path, reason: messageOf(error) }, { cause: error });
}
