/**
 * The thread that feeds large archives to an archive worker: it reads, decompresses and hashes, while the other one parses and
 * writes. It knows descriptors only, no paths, and stands outside the wall.
 */
import { createHash } from "node:crypto";
import { readSync } from "node:fs";
import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type MessagePort, parentPort } from "node:worker_threads";
import { CreditWindow } from "./credit-window.ts";
import type { FromSource, SourceJob, ToSource } from "./source-protocol.ts";
import { decompress } from "./tree-operations.ts";
import { toFailure, WINDOW } from "./worker-protocol.ts";

/** Bytes of a piece. */
const CHUNK = 1 << 20;

parentPort?.on("message", (job: SourceJob) => {
  void feed(job).finally(() => parentPort?.postMessage({ id: job.id }, []));
});

async function feed({ fd, compression, port }: SourceJob): Promise<void> {
  const sender = new PieceSender(port);
  try {
    const hash = createHash("sha256");
    if (compression === "none") await sendFile(fd, sender, hash);
    else {
      const source = Readable.from(compressedPieces(fd, sender));
      for await (const chunk of decompress(source, compression)) {
        hash.update(chunk);
        if (!(await sender.sendCopy(chunk))) break;
      }
    }
    sender.end({ kind: "end", diffId: `sha256:${hash.digest("hex")}` });
  } catch (error) {
    sender.end({ kind: "failure", error: toFailure(error) });
  }
}

async function sendFile(fd: number, sender: PieceSender, hash: ReturnType<typeof createHash>): Promise<void> {
  for (;;) {
    const piece = await sender.buffer();
    if (piece === undefined) return;
    const length = readSync(fd, piece, 0, piece.length, null);
    if (length === 0) return;
    sender.bytesRead += length;
    hash.update(piece.subarray(0, length));
    sender.send(piece, length);
    await nextTurn();
  }
}

async function* compressedPieces(fd: number, sender: PieceSender): AsyncGenerator<Buffer> {
  for (;;) {
    const piece = Buffer.allocUnsafeSlow(CHUNK >> 2);
    const length = readSync(fd, piece, 0, piece.length, null);
    if (length === 0) return;
    sender.bytesRead += length;
    yield piece.subarray(0, length);
  }
}

/** Sends pieces as the receiver takes them, and uses their memory again. */
class PieceSender {
  readonly #port: MessagePort;
  readonly #window = new CreditWindow(WINDOW);
  readonly #free: ArrayBuffer[] = [];
  /** Of the source file, for progress. */
  bytesRead = 0;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on("message", (message: ToSource) => {
      if (message.kind === "stop") {
        this.#window.close();
      } else {
        this.#free.push(message.memory);
        this.#window.give();
      }
    });
    port.on("close", () => this.#window.close());
  }

  /** Memory for the next piece; undefined when the receiver wants no more. */
  async buffer(): Promise<Buffer | undefined> {
    if (!(await this.#window.take())) return undefined;
    return Buffer.from(this.#free.pop() ?? new ArrayBuffer(CHUNK));
  }

  send(piece: Buffer, length: number): void {
    const memory = piece.buffer;
    if (!(memory instanceof ArrayBuffer)) throw new TypeError("a piece has memory of its own");
    const message: FromSource = { kind: "piece", memory, length, bytesRead: this.bytesRead };
    this.#port.postMessage(message, [memory]);
  }

  /** False when the receiver wants no more. */
  async sendCopy(chunk: Buffer): Promise<boolean> {
    for (let at = 0; at < chunk.length; at += CHUNK) {
      const piece = await this.buffer();
      if (piece === undefined) return false;
      this.send(piece, chunk.copy(piece, 0, at));
    }
    return true;
  }

  end(message: FromSource): void {
    this.#port.postMessage(message, []);
    this.#port.close();
  }
}
