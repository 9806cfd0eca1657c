/**
 * Gets published layers onto the disk without making anyone wait: a layer counts as lost when the machine goes down before
 * that, and is unpacked again from its blob (which was synced when it was stored).
 */
import { messageOf } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { background, type OpContext, withTimeout } from "../base/op-context.ts";
import type { Host } from "../host/host.ts";
import type { UnsyncedLayer } from "./layer-catalog.ts";

/** Collects what is published in between, milliseconds. */
const DELAY_MS = 5_000;
const SYNC_TIMEOUT_MS = 300_000;

export interface SyncedLayers {
  unsynced(): readonly UnsyncedLayer[];
  /** The file system was synced since these were published. */
  settle(ctx: OpContext, layers: readonly UnsyncedLayer[]): Promise<void>;
}

export class SyncLater {
  readonly #processes: Host["processes"];
  readonly #layers: SyncedLayers;
  readonly #path: string;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(processes: Host["processes"], layers: SyncedLayers, path: string, log: Logger) {
    this.#processes = processes;
    this.#layers = layers;
    this.#path = path;
    this.#log = log;
  }

  /** A layer was published. */
  request(): void {
    this.#timer ??= setTimeout(() => void this.flush(), DELAY_MS).unref();
  }

  /** Syncs now what is not synced yet. A failure is logged: the layers then stay marked, which is safe. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running = this.#running.then(() => this.#sync());
    await this.#running;
  }

  async #sync(): Promise<void> {
    const layers = this.#layers.unsynced();
    if (layers.length === 0) return;
    const ctx = withTimeout(background(this.#log), SYNC_TIMEOUT_MS);
    try {
      const argv = ["sync", "--file-system", this.#path] as const;
      const { code, stderr } = await this.#processes.run(ctx, { argv: [...argv], timeoutMs: SYNC_TIMEOUT_MS });
      if (code !== 0) throw new Error(stderr.trim());
      await this.#layers.settle(ctx, layers);
    } catch (error) {
      this.#log.warn({ error: messageOf(error) }, "could not sync layers to the disk");
    }
  }
}
