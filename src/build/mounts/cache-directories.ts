/**
 * The directories of `RUN --mount=type=cache`: they outlive builds, and the engine.
 *
 * INVARIANTS
 *  - What has a record is whole: it was made among the drafts and renamed. What has none is removed at start.
 *  - One step that asked for a directory to itself ("locked", "private") is its only user; "shared" ones share it.
 *  - A step takes all its directories in one call, in the order of their keys, so that two steps never wait for each other.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import type { ConfinedRoots } from "../../archive/confined-root.ts";
import type { Clock } from "../../base/clock.ts";
import { newId } from "../../base/ids.ts";
import { KeyedMutex } from "../../base/keyed-mutex.ts";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import type { CacheSharing } from "../../dockerfile/run-mount.ts";
import { mkdir, rename, rm } from "../../host/files.ts";
import type { Collection, Store } from "../../state/store.ts";

const CacheDirectory = Type.Object({
  /** Name of the directory. */
  id: Type.String(),
  /** Those of one key are the same to a Dockerfile; there are several when "private" users came together. */
  key: Type.String(),
  description: Type.String(),
  /** ISO 8601. */
  createdAt: Type.String(),
  lastUsedAt: Type.String(),
  /** Steps that have had it. */
  uses: Type.Integer(),
});
export type CacheDirectory = Static<typeof CacheDirectory>;

export interface CacheRequest {
  readonly key: string;
  readonly sharing: CacheSharing;
  readonly description: string;
  /** Gives a new directory what it begins with, and its owner and mode. */
  fill(ctx: OpContext, directory: string): Promise<void>;
}

/** Directories that a step has until it is disposed, by their keys. */
export interface CacheLease extends Disposable {
  readonly directories: ReadonlyMap<string, string>;
}

export interface CacheDirectoryUsage extends CacheDirectory {
  /** On the disk, as du(1) counts. */
  readonly bytes: number;
  readonly inUse: boolean;
}

interface Holders {
  count: number;
  alone: boolean;
}

export class CacheDirectories {
  readonly #store: Store;
  readonly #records: Collection<CacheDirectory>;
  readonly #roots: ConfinedRoots;
  readonly #clock: Clock;
  readonly #root: string;
  readonly #mutex = new KeyedMutex();
  readonly #held = new Map<string, Holders>();
  readonly #waiting = new Set<() => void>();
  #releases = 0;

  /** `root` is a directory of its own. */
  constructor(parts: { readonly store: Store; readonly roots: ConfinedRoots; readonly clock: Clock }, root: string) {
    this.#store = parts.store;
    this.#records = parts.store.collection("build-cache-mounts", CacheDirectory);
    this.#roots = parts.roots;
    this.#clock = parts.clock;
    this.#root = root;
  }

  /** At start, before any build: drops what a killed engine left half made or half removed. */
  async recover(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    await rm(this.#drafts, { recursive: true, force: true });
    const present = new Set(await readdir(this.#root));
    for (const { id } of this.#records.list()) if (!present.delete(id)) this.#records.delete(id);
    for (const name of present) await rm(join(this.#root, name), { recursive: true, force: true });
  }

  /** Waits for what others have to themselves. Several requests of one key get one directory, as the strictest of them asks. */
  async lease(ctx: OpContext, requests: readonly CacheRequest[]): Promise<CacheLease> {
    using taken = new DisposableStack();
    const directories = new Map<string, string>();
    for (const request of strictestByKey(requests)) {
      const id = await this.#take(ctx, request);
      taken.defer(() => this.#release(id));
      directories.set(request.key, join(this.#root, id));
    }
    const held = taken.move();
    return { directories, [Symbol.dispose]: () => held.dispose() };
  }

  async usage(ctx: OpContext): Promise<readonly CacheDirectoryUsage[]> {
    const records = this.#records.list();
    const sizes = await this.#measure(ctx, records);
    return records.map((record, index) => ({
      ...record,
      bytes: sizes[index] ?? 0,
      inUse: this.#held.has(record.id),
    }));
  }

  /** Removes those that are chosen and that no step has. */
  async prune(ctx: OpContext, chosen: (record: CacheDirectory) => boolean): Promise<readonly CacheDirectoryUsage[]> {
    const removed: CacheDirectoryUsage[] = [];
    for (const usage of await this.usage(ctx)) {
      using _lock = await this.#mutex.acquire(usage.key);
      if (!chosen(usage) || this.#held.has(usage.id) || this.#records.get(usage.id) === undefined) continue;
      this.#records.delete(usage.id);
      const away = await this.#draft(usage.id);
      await rename(join(this.#root, usage.id), away);
      await rm(away, { recursive: true, force: true });
      removed.push(usage);
    }
    return removed;
  }

  get #drafts(): string {
    return join(this.#root, "drafts");
  }

  async #take(ctx: OpContext, request: CacheRequest): Promise<string> {
    for (;;) {
      ctx.signal.throwIfAborted();
      const seen = this.#releases;
      {
        using _lock = await this.#mutex.acquire(request.key);
        const id = await this.#takeNow(ctx, request);
        if (id !== undefined) return id;
      }
      // One that was given back meanwhile wakes nobody any more.
      if (this.#releases === seen) await this.#nextRelease(ctx);
    }
  }

  /** Undefined when others have all there are of its key, and another one is not wanted. */
  async #takeNow(ctx: OpContext, request: CacheRequest): Promise<string | undefined> {
    const known = this.#records.list().filter(({ key }) => key === request.key);
    const oldestFirst = known.toSorted((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
    const free = oldestFirst.find(({ id }) => this.#fits(id, request));
    if (free !== undefined) return this.#hold(free, request);
    if (known.length > 0 && request.sharing !== "private") return undefined;
    return this.#hold(await this.#make(ctx, request), request);
  }

  #fits(id: string, { sharing }: CacheRequest): boolean {
    const holders = this.#held.get(id);
    return holders === undefined || (sharing === "shared" && !holders.alone);
  }

  #hold(record: CacheDirectory, { sharing }: CacheRequest): string {
    const holders = this.#held.get(record.id) ?? { count: 0, alone: sharing !== "shared" };
    holders.count++;
    this.#held.set(record.id, holders);
    this.#put({ ...record, lastUsedAt: this.#now(), uses: record.uses + 1 });
    return record.id;
  }

  #release(id: string): void {
    const holders = this.#held.get(id);
    if (holders === undefined) return;
    if (--holders.count > 0) return;
    this.#held.delete(id);
    this.#releases++;
    for (const wake of this.#waiting) wake();
  }

  /** Resolves when a directory has become free, or the operation is given up. */
  #nextRelease(ctx: OpContext): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => {
      this.#waiting.delete(wake);
      ctx.signal.removeEventListener("abort", wake);
      resolve();
    };
    this.#waiting.add(wake);
    ctx.signal.addEventListener("abort", wake, { once: true });
    // It may have been given up while the directories were looked at.
    if (ctx.signal.aborted) wake();
    return promise;
  }

  async #make(ctx: OpContext, request: CacheRequest): Promise<CacheDirectory> {
    const id = newId();
    await using reverter = new Reverter(ctx);
    const draft = await this.#draft(id);
    reverter.add("remove the draft", () => rm(draft, { recursive: true, force: true }));
    await mkdir(draft, { mode: 0o755 });
    await request.fill(ctx, draft);
    await rename(draft, join(this.#root, id));
    reverter.commit();
    const createdAt = this.#now();
    const record: CacheDirectory = {
      id,
      key: request.key,
      description: request.description,
      createdAt,
      lastUsedAt: createdAt,
      uses: 0,
    };
    this.#put(record);
    return record;
  }

  async #draft(id: string): Promise<string> {
    await mkdir(this.#drafts, { recursive: true, mode: 0o700 });
    return join(this.#drafts, id);
  }

  /** A power cut may take the record, and with it the directory: it is only a cache. */
  #put(record: CacheDirectory): void {
    this.#store.transaction(() => this.#records.put(record.id, record), { durable: false });
  }

  async #measure(ctx: OpContext, records: readonly CacheDirectory[]): Promise<readonly number[]> {
    if (records.length === 0) return [];
    await using root = await this.#roots.open(ctx, this.#root);
    return await root.diskUsage(
      ctx,
      records.map(({ id }) => id),
    );
  }

  #now(): string {
    return new Date(this.#clock.now()).toISOString();
  }
}

/** In the order of their keys. */
function strictestByKey(requests: readonly CacheRequest[]): readonly CacheRequest[] {
  const strictness: readonly CacheSharing[] = ["shared", "locked", "private"];
  const found = new Map<string, CacheRequest>();
  for (const request of requests) {
    const before = found.get(request.key);
    const stricter = before === undefined || strictness.indexOf(request.sharing) > strictness.indexOf(before.sharing);
    if (stricter) found.set(request.key, request);
  }
  return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}
