import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import { QmpClient } from "./qmp-client.ts";

interface Shared {
  readonly client: QmpClient;
  users: number;
}

/** A use of a machine's monitor; the last one to be disposed closes the connection. */
export interface MonitorLease extends Disposable {
  readonly qmp: QmpClient;
}

/**
 * Connections to monitors, one a machine: QEMU serves one client of a monitor after another, so that a screenshot would wait for the
 * end of a backup if each had its own.
 */
export class Monitors {
  readonly #shared = new Map<string, Shared>();
  readonly #turns = new KeyedMutex();

  /** The monitor at `socketPath`. `QMP_UNREACHABLE`, `QMP_SILENT`. */
  async open(ctx: OpContext, socketPath: string): Promise<MonitorLease> {
    using _turn = await this.#turns.acquire(socketPath);
    const found = this.#shared.get(socketPath);
    const shared = found === undefined || found.client.isClosed ? await this.#connect(ctx, socketPath) : found;
    shared.users++;
    let isMine = true;
    return {
      qmp: shared.client,
      [Symbol.dispose]: () => {
        if (!isMine) return;
        isMine = false;
        shared.users--;
        if (shared.users > 0) return;
        shared.client.close();
        if (this.#shared.get(socketPath) === shared) this.#shared.delete(socketPath);
      },
    };
  }

  async #connect(ctx: OpContext, socketPath: string): Promise<Shared> {
    const client = await QmpClient.connect(ctx, socketPath);
    client.unref();
    const shared = { client, users: 0 };
    this.#shared.set(socketPath, shared);
    return shared;
  }
}
