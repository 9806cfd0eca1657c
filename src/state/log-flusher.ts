import { closeSync, fdatasync, openSync } from "node:fs";
import { promisify } from "node:util";
import { failpoints } from "../host/failpoints.ts";

const sync = promisify(fdatasync);

/** Syncs a write-ahead log from a thread of the pool; calls that come while one is under way share the next. */
export class LogFlusher implements Disposable {
  readonly #path: string;
  #fd: number | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  flush(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#sync().finally(() => {
        this.#running = undefined;
      });
      return this.#running;
    }
    // It may have begun before the caller's commit.
    this.#next ??= this.#after(this.#running);
    return this.#next;
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  async #after(running: Promise<void>): Promise<void> {
    await running.catch(() => {});
    this.#next = undefined;
    await this.flush();
  }

  async #sync(): Promise<void> {
    if (failpoints.on) await failpoints.before("state.sync", this.#path);
    // The database's own connection keeps the file for as long as it is open.
    this.#fd ??= openSync(this.#path, "r");
    await sync(this.#fd);
  }
}
