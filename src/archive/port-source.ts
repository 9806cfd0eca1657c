/** The archive worker's end of a source worker: pieces that are read, decompressed and hashed already. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { MessagePort } from "node:worker_threads";
import { archiveErrors } from "./errors.ts";
import type { FromSource, ToSource } from "./source-protocol.ts";
import type { Digester } from "./tree-operations.ts";
import { fromFailure } from "./worker-protocol.ts";

export class PortSource implements Digester {
  readonly #port: MessagePort;
  readonly #signal: AbortSignal;
  readonly #arrived: FromSource[] = [];
  #closed = false;
  #wake: (() => void) | undefined;
  #diffId = "";

  constructor(port: MessagePort, signal: AbortSignal) {
    this.#port = port;
    this.#signal = signal;
    const wake = () => {
      this.#wake?.();
      this.#wake = undefined;
    };
    port.on("message", (message: FromSource) => {
      this.#arrived.push(message);
      wake();
    });
    port.on("close", () => {
      this.#closed = true;
      wake();
    });
    signal.addEventListener("abort", wake);
  }

  /** Each piece is lent until the next one is asked for. */
  async *pieces(onProgress: (bytesRead: number) => void): AsyncGenerator<Buffer, void, void> {
    try {
      for (;;) {
        const message = await this.#next();
        if (message.kind === "failure") throw fromFailure(message.error);
        if (message.kind === "end") {
          this.#diffId = message.diffId;
          return;
        }
        onProgress(message.bytesRead);
        yield Buffer.from(message.memory, 0, message.length);
        this.#send({ kind: "taken", memory: message.memory }, [message.memory]);
        // Other messages of the thread get their turn, such as the one that cancels this.
        await nextTurn();
      }
    } finally {
      this.#send({ kind: "stop" });
      this.#port.close();
    }
  }

  /** The source worker's business. */
  update(): void {}

  digest(): string {
    return this.#diffId;
  }

  async #next(): Promise<FromSource> {
    for (;;) {
      this.#signal.throwIfAborted();
      const message = this.#arrived.shift();
      if (message !== undefined) return message;
      if (this.#closed) throw archiveErrors.ARCHIVE_WORKER_LOST({ root: "its source", reason: "its port was closed" });
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #send(message: ToSource, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }
}
