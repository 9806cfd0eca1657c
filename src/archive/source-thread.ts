/** The engine's end of a source worker. */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { siblingModule } from "../base/module-url.ts";
import type { ReusableThread } from "./idle-threads.ts";
import type { SourceJob } from "./source-protocol.ts";

export class SourceThread implements ReusableThread {
  readonly #worker: Worker;
  readonly #jobs = new Map<number, () => void>();
  #nextId = 1;
  #alive = true;

  constructor() {
    this.#worker = new Worker(siblingModule(import.meta.url, "source-worker"), { execArgv: [], stdin: false });
    this.#worker.unref();
    this.#worker.on("message", ({ id }: { readonly id: number }) => this.#ended(id));
    // The archive worker notices by its port, which closes.
    this.#worker.on("error", () => this.#lost());
    this.#worker.on("exit", () => this.#lost());
  }

  get alive(): boolean {
    return this.#alive;
  }

  get idle(): boolean {
    return this.#jobs.size === 0;
  }

  /** Starts reading `fd`. `port` is for the archive worker; `ended` resolves when the descriptor is no longer used. */
  start(
    fd: number,
    compression: SourceJob["compression"],
  ): { readonly port: MessagePort; readonly ended: Promise<void> } {
    const { port1, port2 } = new MessageChannel();
    const id = this.#nextId++;
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#alive) {
      this.#jobs.set(id, resolve);
      const job: SourceJob = { id, fd, compression, port: port1 };
      this.#worker.postMessage(job, [port1]);
    } else {
      port1.close();
      resolve();
    }
    return { port: port2, ended: promise };
  }

  async terminate(): Promise<void> {
    this.#alive = false;
    await this.#worker.terminate();
  }

  #ended(id: number): void {
    this.#jobs.get(id)?.();
    this.#jobs.delete(id);
  }

  #lost(): void {
    this.#alive = false;
    for (const id of this.#jobs.keys()) this.#ended(id);
  }
}
