/** What the engine's thread and an archive worker say to each other. Plain data, cloned by the message port. */
import type { MessagePort } from "node:worker_threads";
import { BerthError, messageOf } from "../base/errors.ts";
import type {
  DigestRequest,
  ExtractRequest,
  ExtractResult,
  FileStat,
  ListedFile,
  PackRequest,
} from "./confined-root.ts";
import type { IndexedMember } from "./tar-index.ts";

/**
 * An extraction's source as the worker sees it: an open descriptor, pieces that arrive as messages, or the port of a
 * source worker that reads, decompresses and hashes.
 */
export type WorkerSource =
  | { readonly kind: "fd"; readonly fd: number }
  | { readonly kind: "chunks" }
  | { readonly kind: "port"; readonly port: MessagePort };

export type WorkerCall =
  | { readonly method: "stat"; readonly path: string; readonly follow: boolean }
  | { readonly method: "readFile"; readonly path: string; readonly maxBytes: number }
  | {
      readonly method: "makeDirectories";
      readonly path: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly method: "extract";
      readonly source: WorkerSource;
      readonly request: Omit<ExtractRequest, "source" | "onProgress" | "compression"> & {
        readonly compression: "none" | "gzip" | "zstd";
      };
    }
  | { readonly method: "spool"; readonly compression: "none" | "gzip" | "zstd"; readonly fd: number }
  | { readonly method: "pack"; readonly request: PackRequest }
  | { readonly method: "list"; readonly path: string }
  | { readonly method: "diskUsage"; readonly paths: readonly string[] }
  | { readonly method: "digest"; readonly request: DigestRequest }
  | { readonly method: "remove"; readonly path: string };

export interface WorkerResults {
  readonly stat: FileStat;
  readonly readFile: Uint8Array;
  readonly makeDirectories: undefined;
  /** What could not be kept comes as notes for the log. */
  readonly extract: ExtractResult & { readonly notes: readonly string[] };
  readonly spool: readonly IndexedMember[] | undefined;
  readonly pack: undefined;
  readonly list: readonly ListedFile[];
  readonly diskUsage: readonly number[];
  readonly digest: string;
  readonly remove: undefined;
}

export type ToWorker =
  /** To be done inside the directory `root`, an open descriptor; `rootPath` is for errors. One at a time. */
  | {
      readonly kind: "call";
      readonly id: number;
      readonly root: number;
      readonly rootPath: string;
      readonly call: WorkerCall;
    }
  /** A piece of a streamed source; null is its end. */
  | { readonly kind: "chunk"; readonly id: number; readonly chunk: Uint8Array | null }
  /** The consumer of a pack took a piece. */
  | { readonly kind: "credit"; readonly id: number }
  | { readonly kind: "cancel"; readonly id: number };

export type FromWorker =
  | { readonly kind: "result"; readonly id: number; readonly value: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly error: WorkerFailure }
  | { readonly kind: "progress"; readonly id: number; readonly bytes: number }
  /** The worker took a piece of a streamed source. */
  | { readonly kind: "credit"; readonly id: number }
  | { readonly kind: "chunk"; readonly id: number; readonly chunk: Uint8Array };

/** Pieces that may be under way to the other side at a time. */
export const WINDOW = 4;

export interface WorkerFailure {
  readonly code: string;
  /** 0 for what was not raised on purpose. */
  readonly status: number;
  readonly message: string;
  readonly hint: string | undefined;
}

export function toFailure(error: unknown): WorkerFailure {
  if (!(error instanceof BerthError)) return { code: "", status: 0, message: messageOf(error), hint: undefined };
  return { code: error.code, status: error.status, message: error.message, hint: error.hint };
}

export function fromFailure(failure: WorkerFailure): Error {
  if (failure.status === 0) return new Error(failure.message);
  return new BerthError(failure.code, failure.status, failure.message, failure.hint);
}
