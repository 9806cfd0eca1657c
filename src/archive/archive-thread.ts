/** The engine's end of one archive worker: starts it, sends calls, hands out answers, and notices its death. */
import { type Transferable, Worker } from "node:worker_threads";
import { messageOf } from "../base/errors.ts";
import { siblingModule } from "../base/module-url.ts";
import { archiveErrors } from "./errors.ts";
import type { ReusableThread } from "./idle-threads.ts";
import { type FromWorker, fromFailure, type ToWorker, type WorkerCall, type WorkerResults } from "./worker-protocol.ts";

/** What a call wants to hear besides its answer. */
export interface CallListener {
  readonly onProgress?: (bytes: number) => void;
  readonly onCredit?: () => void;
  readonly onChunk?: (chunk: Uint8Array) => void;
}

interface Pending extends CallListener {
  readonly root: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Open as long as calls use it. */
export interface RootDirectory {
  readonly fd: number;
  /** For errors. */
  readonly path: string;
}

export interface StartedCall<T> {
  readonly id: number;
  readonly result: Promise<T>;
}

export class ArchiveThread implements ReusableThread {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #dead: string | undefined;

  constructor() {
    // Its own flags: a test runner's or debugger's would not suit it.
    this.#worker = new Worker(siblingModule(import.meta.url, "archive-worker"), { execArgv: [], stdin: false });
    this.#worker.unref();
    this.#worker.on("message", (message: FromWorker) => this.#received(message));
    this.#worker.on("error", (error) => this.#lost(messageOf(error)));
    this.#worker.on("exit", (code) => this.#lost(`exit code ${code}`));
  }

  get alive(): boolean {
    return this.#dead === undefined;
  }

  get idle(): boolean {
    return this.#pending.size === 0;
  }

  /** Does `call` inside the directory `root`; one at a time. `CONFINEMENT_FAILED`, `ARCHIVE_WORKER_LOST`, or the call's own. */
  call<C extends WorkerCall>(
    root: RootDirectory,
    call: C,
    listener: CallListener = {},
    transfer: readonly Transferable[] = [],
  ): StartedCall<WorkerResults[C["method"]]> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    if (this.#dead !== undefined) {
      reject(archiveErrors.ARCHIVE_WORKER_LOST({ root: root.path, reason: this.#dead }));
    } else {
      this.#pending.set(id, { ...listener, root: root.path, resolve, reject });
      this.#worker.ref();
      this.send({ kind: "call", id, root: root.fd, rootPath: root.path, call }, transfer);
    }
    return { id, result: promise as Promise<WorkerResults[C["method"]]> };
  }

  send(message: ToWorker, transfer: readonly Transferable[] = []): void {
    if (this.alive) this.#worker.postMessage(message, [...transfer]);
  }

  async terminate(): Promise<void> {
    // At once, not when it has ended: it must not be given another call in between.
    this.#dead ??= "the engine ended it";
    await this.#worker.terminate();
  }

  #received(message: FromWorker): void {
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    switch (message.kind) {
      case "progress":
        pending.onProgress?.(message.bytes);
        return;
      case "credit":
        pending.onCredit?.();
        return;
      case "chunk":
        pending.onChunk?.(message.chunk);
        return;
      case "result":
        pending.resolve(message.value);
        break;
      case "failure":
        pending.reject(fromFailure(message.error));
        break;
    }
    this.#pending.delete(message.id);
    // An idle worker must not keep the process alive.
    if (this.idle) this.#worker.unref();
  }

  #lost(reason: string): void {
    this.#dead ??= reason;
    for (const { root, reject: fail } of this.#pending.values()) {
      fail(archiveErrors.ARCHIVE_WORKER_LOST({ root, reason: this.#dead }));
    }
    this.#pending.clear();
  }
}
