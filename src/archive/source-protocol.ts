/** What the source worker says to the archive worker, over a port of their own, and what the engine's thread asks of it. */
import type { MessagePort } from "node:worker_threads";
import type { WorkerFailure } from "./worker-protocol.ts";

export interface SourceJob {
  readonly id: number;
  /** Read from where it stands. */
  readonly fd: number;
  readonly compression: "none" | "gzip" | "zstd";
  readonly port: MessagePort;
}

export type FromSource =
  /** The first `length` bytes of `memory`; `bytesRead` of the source file so far. */
  | {
      readonly kind: "piece";
      readonly memory: ArrayBuffer;
      readonly length: number;
      readonly bytesRead: number;
    }
  /** Digest of everything that was sent. */
  | { readonly kind: "end"; readonly diffId: string }
  | { readonly kind: "failure"; readonly error: WorkerFailure };

export type ToSource = { readonly kind: "taken"; readonly memory: ArrayBuffer } | { readonly kind: "stop" };
