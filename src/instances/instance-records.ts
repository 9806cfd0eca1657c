/**
 * The records of instances and their names.
 *
 * INVARIANTS
 *  - A name belongs to one record or one reservation; it is reserved before the first effect of a create or rename.
 *  - What is in memory is what the store was told; a change that need not survive a power cut says `durable: false`
 *    (it still survives a killed engine).
 */
import { isDeepStrictEqual } from "node:util";
import type { InstanceRecord, InstanceState } from "../schema/instance.ts";
import { InstanceRecord as InstanceRecordSchema } from "../schema/instance.ts";
import type { Collection, Store } from "../state/store.ts";
import { instanceErrors } from "./errors.ts";
import { randomName } from "./random-name.ts";

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

export interface Durability {
  /** Wait for the disk; true unless said otherwise. */
  readonly durable?: boolean;
}

export class InstanceRecords {
  readonly #store: Store;
  readonly #records: Collection<InstanceRecord>;
  readonly #names = new Map<string, string>();
  /** Volumes of instances in the making, by the instance's id. */
  readonly #reservedVolumes = new Map<string, readonly string[]>();
  /** Ids; made again after one came or went. */
  #newestFirst: readonly string[] | undefined;

  constructor(store: Store) {
    this.#store = store;
    this.#records = store.collection<InstanceRecord>("instances", InstanceRecordSchema);
    for (const record of this.#records.list()) this.#names.set(record.name, record.id);
  }

  get(id: string): InstanceRecord | undefined {
    return this.#records.get(id);
  }

  /** `INSTANCE_NOT_FOUND`. */
  require(id: string): InstanceRecord {
    const record = this.#records.get(id);
    if (record === undefined) throw instanceErrors.INSTANCE_NOT_FOUND({ name: id });
    return record;
  }

  byName(name: string): InstanceRecord | undefined {
    const id = this.#names.get(name);
    return id === undefined ? undefined : this.#records.get(id);
  }

  all(): readonly InstanceRecord[] {
    return this.#records.list();
  }

  /** All but internal ones; of two made in the same millisecond the later one comes first, too. */
  newestFirst(): readonly InstanceRecord[] {
    this.#newestFirst ??= this.#records
      .list()
      .filter(({ spec }) => !spec.internal)
      .map(({ id, createdAt }) => ({ id, createdMs: Date.parse(createdAt) }))
      .toReversed()
      .sort((a, b) => b.createdMs - a.createdMs)
      .map(({ id }) => id);
    return this.#newestFirst.flatMap((id) => this.#records.get(id) ?? []);
  }

  /** Takes `name` for `id`, or chooses a free one when it is "". Give it back with {@link releaseName}. */
  reserveName(id: string, name: string): string {
    if (name === "") return this.#reserveRandomName(id);
    if (!namePattern.test(name)) throw instanceErrors.NAME_INVALID({ name });
    const holder = this.#names.get(name);
    if (holder !== undefined) throw instanceErrors.NAME_IN_USE({ name, id: holder });
    this.#names.set(name, id);
    return name;
  }

  releaseName(id: string, name: string): void {
    if (this.#names.get(name) === id) this.#names.delete(name);
  }

  /** From now on the volumes are in use by `id`, which has no record yet; until it is disposed. */
  reserveVolumes(id: string, names: readonly string[]): Disposable {
    this.#reservedVolumes.set(id, names);
    return { [Symbol.dispose]: () => void this.#reservedVolumes.delete(id) };
  }

  /** Ids of the instances that have, or are about to have, the volume. */
  volumeUsers(name: string): readonly string[] {
    const users = this.all()
      // One that is being removed is about to let go: that its own volumes go with it must not be refused on its account.
      .filter(({ state }) => state.status !== "removing")
      .filter(({ spec }) => spec.mounts.some((mount) => mount.type === "volume" && mount.name === name))
      .map(({ id }) => id);
    const making = [...this.#reservedVolumes].filter(([, names]) => names.includes(name)).map(([id]) => id);
    return [...new Set([...users, ...making])];
  }

  insert(record: InstanceRecord, durability?: Durability): void {
    this.#store.transaction(() => this.#records.put(record.id, record), durability);
    this.#newestFirst = undefined;
    this.#names.set(record.name, record.id);
  }

  /** Replaces a record by what `change` makes of it; `INSTANCE_NOT_FOUND` when it has gone. */
  update(id: string, change: (record: InstanceRecord) => InstanceRecord, durability?: Durability): InstanceRecord {
    const changed = change(this.require(id));
    this.#store.transaction(() => this.#records.put(id, changed), durability);
    return changed;
  }

  /** Writes nothing when it is so already: recovery says again what it finds. */
  setState(id: string, change: Partial<InstanceState>, durability?: Durability): InstanceRecord {
    const before = this.require(id);
    if (isDeepStrictEqual({ ...before.state, ...change }, before.state)) return before;
    return this.update(id, (record) => ({ ...record, state: { ...record.state, ...change } }), durability);
  }

  delete(id: string, durability?: Durability): void {
    const record = this.#records.get(id);
    if (record === undefined) return;
    this.#store.transaction(() => this.#records.delete(id), durability);
    this.#newestFirst = undefined;
    this.releaseName(id, record.name);
  }

  #reserveRandomName(id: string): string {
    for (let attempt = 0; attempt < 6; attempt++) {
      const name = randomName(attempt);
      if (this.#names.has(name)) continue;
      this.#names.set(name, id);
      return name;
    }
    const name = id.slice(0, 12);
    this.#names.set(name, id);
    return name;
  }
}
