import { stat } from "node:fs/promises";
import { messageOf } from "../../base/errors.ts";
import { background } from "../../base/op-context.ts";
import { rename, rm } from "../../host/files.ts";
import type { InstanceRecord, InstanceSpec } from "../../schema/instance.ts";
import { driverOf, type InstanceDependencies, logPath } from "../parts.ts";
import type { InstanceRecords } from "../instance-records.ts";
import { rotatedPath } from "./log-files.ts";
import { parseSize } from "../../base/byte-size.ts";

interface Limit {
  readonly maxBytes: number;
  readonly maxFiles: number;
}

const lookEveryMs = 1000;

/** Keeps the logs of running instances within their `max-size` and `max-file`: one timer for all of those that have such limits. */
export class LogRotation {
  readonly #parts: Pick<InstanceDependencies, "dataRoot" | "drivers" | "log"> & { readonly records: InstanceRecords };
  readonly #limited = new Map<string, Limit>();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;

  constructor(
    parts: Pick<InstanceDependencies, "dataRoot" | "drivers" | "log"> & { readonly records: InstanceRecords },
  ) {
    this.#parts = parts;
  }

  /** Watches the log of a running instance until `ended`. */
  follow({ id, spec }: InstanceRecord, ended: AbortSignal): void {
    const limit = logLimit(spec.log);
    if (limit === undefined) return;
    this.#limited.set(id, limit);
    ended.addEventListener("abort", () => this.#forget(id), { once: true });
    this.#timer ??= setInterval(() => void this.look(), lookEveryMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#limited.clear();
  }

  /** Rotates what has grown too large. */
  async look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      for (const [id, limit] of this.#limited) await this.#rotateIfLarge(id, limit);
    } finally {
      this.#looking = false;
    }
  }

  #forget(id: string): void {
    this.#limited.delete(id);
    if (this.#limited.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #rotateIfLarge(id: string, limit: Limit): Promise<void> {
    const path = logPath(this.#parts, id);
    try {
      const file = await stat(path).catch(() => undefined);
      const record = this.#parts.records.get(id);
      const handle = record?.state.handle ?? null;
      if (record === undefined || handle === null) return;
      // Missing: an engine was killed between the two steps, and conmon still writes to the file of another name.
      if (file !== undefined) {
        if (file.size < limit.maxBytes) return;
        await shiftFiles(path, limit.maxFiles);
      }
      await driverOf(this.#parts, record.spec).reopenLog(background(this.#parts.log), handle);
    } catch (error) {
      this.#parts.log.warn({ instance: id, error: messageOf(error) }, "could not rotate its log");
    }
  }
}

/** Undefined when the log may grow without bound: Docker's default for json-file. */
function logLimit({ driver, options }: InstanceSpec["log"]): Limit | undefined {
  if (driver === "none") return undefined;
  const maxSize = options["max-size"] ?? (driver === "local" ? "20m" : undefined);
  const maxBytes = maxSize === undefined ? undefined : parseSize(maxSize);
  if (maxBytes === undefined || maxBytes <= 0) return undefined;
  return { maxBytes, maxFiles: Number(options["max-file"] ?? (driver === "local" ? "5" : "1")) };
}

/** `maxFiles` counts the one being written. */
export async function shiftFiles(path: string, maxFiles: number): Promise<void> {
  await rm(rotatedPath(path, maxFiles - 1), { force: true });
  for (let index = maxFiles - 2; index >= 0; index--) {
    await rename(rotatedPath(path, index), rotatedPath(path, index + 1)).catch((error: unknown) => {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    });
  }
}
