import type { Clock } from "../base/clock.ts";
import type { Leases } from "./leases.ts";

/** A build or commit that has made a layer makes its image well within this. */
const GRACE_MS = 3_600_000;

/** Protects layer blobs from when a sink has written them until an image names them. */
export class SinkLeases {
  readonly #leases: Leases;
  readonly #clock: Clock;
  readonly #held = new Map<string, { readonly lease: Disposable; readonly until: number }>();

  constructor(leases: Leases, clock: Clock) {
    this.#leases = leases;
    this.#clock = clock;
  }

  async protect(digest: string): Promise<void> {
    this.#expire();
    const lease = await this.#leases.hold([digest]);
    this.#held.get(digest)?.lease[Symbol.dispose]();
    this.#held.set(digest, { lease, until: this.#clock.now() + GRACE_MS });
  }

  /** An image names them now. */
  release(digests: readonly string[]): void {
    for (const digest of digests) {
      this.#held.get(digest)?.lease[Symbol.dispose]();
      this.#held.delete(digest);
    }
  }

  /** Lets go of what was given up. */
  #expire(): void {
    const now = this.#clock.now();
    this.release([...this.#held].flatMap(([digest, { until }]) => (until < now ? [digest] : [])));
  }
}
