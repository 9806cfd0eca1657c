import { closeSync, fsyncSync, openSync, statSync, writeSync } from "node:fs";
import { rmSync } from "../host/files.ts";

/** Enough for some hundred small records in the write-ahead log. */
const reserveBytes = 4 * 1024 * 1024;

/**
 * A file beside the records that is given up when the disk is full. So the engine can still be told to remove things, and can
 * still start: what would make room again must not fail for lack of it.
 */
export class DiskReserve {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Takes the room, when it isn't taken yet and the disk has it. */
  fill(): void {
    if (statSync(this.#path, { throwIfNoEntry: false })?.size === reserveBytes) return;
    try {
      const file = openSync(this.#path, "w", 0o600);
      try {
        // Written, not only sized: a hole would reserve nothing.
        writeSync(file, Buffer.alloc(reserveBytes));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
    } catch {
      // No room for a reserve either: it is tried again when the records are opened next.
      this.release();
    }
  }

  /** Gives the room back; false when there was none. */
  release(): boolean {
    if (statSync(this.#path, { throwIfNoEntry: false }) === undefined) return false;
    rmSync(this.#path, { force: true });
    return true;
  }
}
