import { KeyedMutex } from "../base/keyed-mutex.ts";

/** The key of an image's record, which is kept as a whole while a build stands on it. */
export function imageLease(imageId: string): string {
  return `image ${imageId}`;
}

/**
 * What running operations rely on although no record names it yet: blobs by digest, layers by chain id. They live in memory
 * only; a killed engine holds none, and its start-up sweep takes what it left.
 *
 * INVARIANT: garbage is removed only inside {@link Leases.exclusively}, so that "it is there" stays true for whoever
 * looked while holding a lease.
 */
export class Leases {
  readonly #counts = new Map<string, number>();
  readonly #gate = new KeyedMutex();

  /** Protects `keys` until disposed. Waits for a removal that is under way. */
  async hold(keys: readonly string[]): Promise<Disposable> {
    using _gate = await this.#gate.acquire("");
    for (const key of keys) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        for (const key of keys) {
          const left = (this.#counts.get(key) ?? 0) - 1;
          if (left > 0) this.#counts.set(key, left);
          else this.#counts.delete(key);
        }
      },
    };
  }

  isHeld(key: string): boolean {
    return this.#counts.has(key);
  }

  /** Runs a removal while nobody can take a lease. Keep it short. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    return await this.#gate.run("", work);
  }
}
