import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { ConfinedRoot, ConfinedRoots } from "../../archive/confined-root.ts";
import { systemClock } from "../../base/clock.ts";
import { background, withSignal } from "../../base/op-context.ts";
import type { CacheSharing } from "../../dockerfile/run-mount.ts";
import { MemoryStore } from "../../state/fake/memory-store.ts";
import { CacheDirectories, type CacheRequest } from "./cache-directories.ts";

const ctx = background();
/** Every tree takes 10 bytes. */
const roots: ConfinedRoots = {
  open: async () => {
    const root: Partial<ConfinedRoot> = {
      diskUsage: async (_ctx, paths) => paths.map(() => 10),
      [Symbol.asyncDispose]: async () => {},
    };
    return root as ConfinedRoot;
  },
};
let directory: string;
let store: MemoryStore;
let caches: CacheDirectories;
let now = 0;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "berth-caches-"));
  store = new MemoryStore();
  caches = await open();
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function open(): Promise<CacheDirectories> {
  const clock = { ...systemClock, now: () => (now += 1000) };
  const opened = new CacheDirectories({ store, roots, clock }, directory);
  await opened.recover();
  return opened;
}

const request = (key: string, sharing: CacheSharing = "shared", fill?: CacheRequest["fill"]): CacheRequest => ({
  key,
  sharing,
  description: `cache ${key}`,
  fill: fill ?? (async () => {}),
});
const present = async () => (await readdir(directory)).filter((name) => name !== "drafts");

/** Whether it has resolved once everything that is ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => void (settled = true);
  promise.then(note, note);
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

it("finds a directory again, also after a restart", async () => {
  const first = await caches.lease(ctx, [request("a", "shared", (_ctx, at) => writeFile(join(at, "begun"), ""))]);
  const path = first.directories.get("a") ?? "";
  await writeFile(join(path, "x"), "1");
  first[Symbol.dispose]();
  caches = await open();
  using again = await caches.lease(ctx, [request("a")]);
  expect(again.directories.get("a")).toBe(path);
  expect(await readdir(path)).toEqual(["begun", "x"]);
  expect(await caches.usage(ctx)).toMatchObject([
    { key: "a", description: "cache a", uses: 2, bytes: 10, inUse: true },
  ]);
});

it("shares one among those that share, and lets one that locks wait for them", async () => {
  const one = await caches.lease(ctx, [request("a")]);
  const two = await caches.lease(ctx, [request("a")]);
  expect(two.directories).toEqual(one.directories);
  const locking = caches.lease(ctx, [request("a", "locked")]);
  one[Symbol.dispose]();
  expect(await isSettled(locking)).toBe(false);
  two[Symbol.dispose]();
  const locked = await locking;
  expect(locked.directories).toEqual(one.directories);
  const sharing = caches.lease(ctx, [request("a")]);
  expect(await isSettled(sharing)).toBe(false);
  locked[Symbol.dispose]();
  (await sharing)[Symbol.dispose]();
  expect(await present()).toHaveLength(1);
});

it("makes another one for a private user that finds all in use, and uses both later", async () => {
  const one = await caches.lease(ctx, [request("a", "private")]);
  const two = await caches.lease(ctx, [request("a", "private")]);
  expect(two.directories.get("a")).not.toBe(one.directories.get("a"));
  one[Symbol.dispose]();
  two[Symbol.dispose]();
  using three = await caches.lease(ctx, [request("a", "private")]);
  using four = await caches.lease(ctx, [request("a", "private")]);
  expect([three.directories.get("a"), four.directories.get("a")]).toEqual([
    one.directories.get("a"),
    two.directories.get("a"),
  ]);
});

it("gives requests of one key one directory, and never lets two steps wait for each other", async () => {
  const both = ["a", "b", "a"].map((key) => request(key, "locked"));
  const one = await caches.lease(ctx, both);
  expect(one.directories.size).toBe(2);
  const other = caches.lease(ctx, both.toReversed());
  expect(await isSettled(other)).toBe(false);
  one[Symbol.dispose]();
  (await other)[Symbol.dispose]();
});

it("waits no longer than the operation lasts, and holds nothing then", async () => {
  const held = await caches.lease(ctx, [request("b", "locked")]);
  const abort = new AbortController();
  const waiting = caches.lease(withSignal(ctx, abort.signal), [request("a", "locked"), request("b", "locked")]);
  const refused = expect(waiting).rejects.toThrow("given up");
  expect(await isSettled(waiting)).toBe(false);
  abort.abort(new Error("given up"));
  await refused;
  using _free = await caches.lease(ctx, [request("a", "locked")]);
  held[Symbol.dispose]();
});

it("prunes what is chosen and not in use", async () => {
  using _held = await caches.lease(ctx, [request("a")]);
  for (const key of ["b", "c"]) (await caches.lease(ctx, [request(key)]))[Symbol.dispose]();
  expect(await caches.prune(ctx, ({ key }) => key !== "c")).toMatchObject([{ key: "b", bytes: 10 }]);
  expect((await caches.usage(ctx)).map(({ key }) => key)).toEqual(["a", "c"]);
  expect(await present()).toHaveLength(2);
});

it("leaves nothing of one that can't be filled", async () => {
  const fill = async (_ctx: unknown, at: string): Promise<void> => {
    await writeFile(join(at, "half"), "");
    throw new Error("no more files");
  };
  await expect(caches.lease(ctx, [request("a", "shared", fill)])).rejects.toThrow("no more files");
  expect(await present()).toEqual([]);
  expect(await readdir(join(directory, "drafts"))).toEqual([]);
  (await caches.lease(ctx, [request("a")]))[Symbol.dispose]();
});

it("drops at start what has no record, and records of what is gone", async () => {
  (await caches.lease(ctx, [request("a")]))[Symbol.dispose]();
  const [name = ""] = await present();
  await rm(join(directory, name), { recursive: true });
  await mkdir(join(directory, "stray", "deep"), { recursive: true });
  await mkdir(join(directory, "drafts", "half"), { recursive: true });
  caches = await open();
  expect(await readdir(directory)).toEqual([]);
  expect(await caches.usage(ctx)).toEqual([]);
});
