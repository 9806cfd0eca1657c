import type { KernelOpFailure } from "../errors.ts";
import { SyscallError } from "../syscall-error.ts";

/** An error as it crosses the channel. */
export type WorkerFailure =
  | { readonly kind: "kernel-op"; readonly op: KernelOpFailure }
  | { readonly kind: "read-refused"; readonly path: string; readonly root: string; readonly reason: string }
  | { readonly kind: "limit-rejected"; readonly limit: string; readonly value: string; readonly reason: string }
  /** A mistake of ours. */
  | { readonly kind: "bug"; readonly message: string; readonly stack: string };

/** Thrown on the worker's thread to answer with a failure of a known kind. */
export class WorkerFailureError extends Error {
  readonly failure: WorkerFailure;

  constructor(failure: WorkerFailure, options?: { readonly cause?: unknown }) {
    super(failure.kind, options);
    this.failure = failure;
  }
}

/** Anything thrown on the worker's thread, as the main thread gets it. */
export function toFailure(error: unknown): WorkerFailure {
  if (error instanceof WorkerFailureError) return error.failure;
  if (error instanceof Error) return { kind: "bug", message: error.message, stack: error.stack ?? "" };
  return { kind: "bug", message: String(error), stack: "" };
}

/** Runs `work`; a failed system call (ours or of node:fs) becomes the failure of `op` on `target`. */
export function named<T>(op: string, target: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const found = errnoAndText(error);
    if (found === undefined) throw error;
    throw new WorkerFailureError({ kind: "kernel-op", op: { op, target, ...found } }, { cause: error });
  }
}

/** The errno's name and the kernel's words of a failed system call; undefined for other errors. */
export function errnoAndText(error: unknown): { readonly errno: string; readonly text: string } | undefined {
  if (error instanceof SyscallError) {
    return { errno: error.code, text: error.syscall === "" ? error.text : `${error.text} (${error.syscall})` };
  }
  // "ENOENT: no such file or directory, open '/x'": node:fs names the call and the path.
  if (error instanceof Error && "errno" in error && "code" in error && typeof error.code === "string") {
    return { errno: error.code, text: error.message.replace(`${error.code}: `, "") };
  }
  return undefined;
}
