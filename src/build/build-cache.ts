/** Results of build steps, by a digest of everything they depend on. Survives restarts; points to intermediate images. */
import { createHash } from "node:crypto";
import { type Static, Type } from "typebox";
import type { Clock } from "../base/clock.ts";
import type { Collection, Store } from "../state/store.ts";
import type { SolverCache } from "./solver.ts";

const CacheRecord = Type.Object({
  key: Type.String(),
  /** Image that the step led to. */
  imageId: Type.String(),
  /** ISO 8601. */
  createdAt: Type.String(),
});
export type CacheRecord = Static<typeof CacheRecord>;

export class BuildCache implements SolverCache<string> {
  readonly #records: Collection<CacheRecord>;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#records = store.collection("build-cache", CacheRecord);
    this.#clock = clock;
  }

  /** The image's id. */
  get(key: string): string | undefined {
    return this.#records.get(key)?.imageId;
  }

  put(key: string, imageId: string): void {
    this.#records.put(key, { key, imageId, createdAt: new Date(this.#clock.now()).toISOString() });
  }

  forget(key: string): void {
    this.#records.delete(key);
  }

  list(): readonly CacheRecord[] {
    return this.#records.list();
  }
}

/** Digest of plain data, for keys: what is equal has the same, whatever the order of its fields. */
export function cacheKey(data: unknown): string {
  return createHash("sha256").update(JSON.stringify(data, sortFields)).digest("hex");
}

function sortFields(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
