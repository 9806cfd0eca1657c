import { Worker } from "node:worker_threads";
import type { BerthError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import { siblingModule } from "../../base/module-url.ts";
import { hostErrors } from "../errors.ts";
import type { WorkerCalls, WorkerReply, WorkerRequest } from "./worker-calls.ts";
import type { WorkerFailure } from "./worker-failure.ts";

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The main thread's end of the kernel worker. Calls are done one after the other in the order made.
 * A worker that ends (a namespace it could not leave) fails what it was asked and is replaced at the next call.
 * An idle worker does not keep the process alive.
 */
export class WorkerClient {
  readonly #log: Logger;
  readonly #entry: URL;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #nextId = 1;
  #closed = false;

  constructor(log: Logger, entry: URL = siblingModule(import.meta.url, "kernel-worker")) {
    this.#log = log;
    this.#entry = entry;
    this.#worker = this.#start();
  }

  call<K extends keyof WorkerCalls>(call: K, ...args: Parameters<WorkerCalls[K]>): Promise<ReturnType<WorkerCalls[K]>> {
    if (this.#closed) return Promise.reject(hostErrors.HOST_CLOSED({ call }));
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const { promise, resolve, reject } = Promise.withResolvers<ReturnType<WorkerCalls[K]>>();
    const request: WorkerRequest = { id: this.#nextId++, call, args };
    if (this.#pending.size === 0) worker.ref();
    this.#pending.set(request.id, { resolve: (value) => resolve(value as ReturnType<WorkerCalls[K]>), reject });
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    worker.postMessage(request);
    return promise;
  }

  /** Waits for what was asked, then ends the thread. */
  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    if (worker === undefined) return;
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    worker.once("exit", () => resolve());
    worker.ref();
    // The worker ends by itself after this message, so that a call that is under way is not cut in the middle.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    worker.postMessage(undefined);
    await ended;
  }

  #start(): Worker {
    const worker = new Worker(this.#entry, {
      name: "berth-kernel",
      env: {},
      execArgv: [],
      // Descriptors are opened by system calls that Node does not see.
      trackUnmanagedFds: false,
      // It holds a few small buffers; a small young generation keeps its share of our memory small.
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64, stackSizeMb: 4 },
    });
    worker.unref();
    worker.on("message", (reply: WorkerReply) => this.#settle(worker, reply));
    worker.once("error", (error) => this.#lose(worker, error.message));
    worker.once("exit", (code) => this.#lose(worker, `exit code ${code}`));
    return worker;
  }

  #settle(worker: Worker, reply: WorkerReply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (this.#pending.size === 0) worker.unref();
    if ("failure" in reply) pending?.reject(toError(reply.failure));
    else pending?.resolve(reply.value);
  }

  #lose(worker: Worker, reason: string): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    if (!this.#closed) this.#log.error({ reason, pending: this.#pending.size }, "the kernel worker ended");
    const error = hostErrors.KERNEL_WORKER_LOST({ reason });
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

function toError(failure: WorkerFailure): BerthError | Error {
  switch (failure.kind) {
    case "kernel-op":
      return hostErrors.KERNEL_OP_FAILED(failure.op, { cause: new KernelErrno(failure.op.errno, failure.op.text) });
    case "read-refused":
      return hostErrors.READ_REFUSED(failure);
    case "limit-rejected":
      return hostErrors.CGROUP_LIMIT_REJECTED(failure);
    case "bug": {
      const error = new Error(`kernel worker: ${failure.message}`);
      error.stack = failure.stack;
      return error;
    }
  }
}

/** Carries the errno in the cause, where `errnoOf` finds it. */
class KernelErrno extends Error {
  readonly code: string;
  readonly errno: string;

  constructor(name: string, text: string) {
    super(`${name}: ${text}`);
    this.code = name;
    this.errno = name;
  }
}
