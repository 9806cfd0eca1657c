import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import { background, withSignal } from "../base/op-context.ts";
import { Solver, type SolverCache, type Vertex } from "./solver.ts";

type TestVertex = Vertex<string, string>;

class MapCache implements SolverCache<string> {
  readonly entries = new Map<string, string>();
  get(key: string): string | undefined {
    return this.entries.get(key);
  }
  put(key: string, entry: string): void {
    this.entries.set(key, entry);
  }
}

let log: string[] = [];

function step(
  name: string,
  inputs: readonly TestVertex[] = [],
  work: () => Promise<void> = async () => {},
): TestVertex {
  return {
    name,
    inputs,
    plan: async (_ctx, results) => ({
      kind: "run",
      key: `${name}(${results.join(",")})`,
      restore: async (_ctx, cached) => (cached === "stale" ? undefined : `${cached} cached`),
      run: async () => {
        log.push(`+${name}`);
        await work();
        log.push(`-${name}`);
        return { result: name, cached: name };
      },
    }),
  };
}

function solver(
  cache = new MapCache(),
  options: { concurrency?: number; isUsable?: (entry: string) => boolean } = {},
): Solver<string, string> {
  log = [];
  return new Solver(cache, new KeyedMutex(), { concurrency: 4, isUsable: () => true, ...options });
}

describe("Solver", () => {
  it("runs a vertex once, after its inputs, which run beside each other", async () => {
    const base = step("base");
    const left = step("left", [base], () => delay(20));
    const right = step("right", [base], () => delay(20));
    expect(await solver().solve(background(), step("top", [left, right]))).toBe("top");
    expect(log).toEqual(["+base", "-base", "+left", "+right", "-left", "-right", "+top", "-top"]);
  });

  it("runs no more at a time than it may", async () => {
    const two = [step("a", [], () => delay(5)), step("b", [], () => delay(5))];
    await solver(new MapCache(), { concurrency: 1 }).solve(background(), step("top", two));
    expect(log).toEqual(["+a", "-a", "+b", "-b", "+top", "-top"]);
  });

  it("takes what the cache knows, unless it is stale or not wanted", async () => {
    const cache = new MapCache();
    const first = solver(cache);
    await first.solve(background(), step("a"));
    expect(await solver(cache).solve(background(), step("a"))).toBe("a cached");
    expect(await solver(cache, { isUsable: () => false }).solve(background(), step("a"))).toBe("a");
    cache.put("a()", "stale");
    expect(await solver(cache).solve(background(), step("a"))).toBe("a");
    expect(cache.get("a()")).toBe("a");
  });

  it("solves vertices that are found out on the way", async () => {
    const vertex: TestVertex = {
      name: "expanding",
      inputs: [],
      plan: async () => ({ kind: "expand", vertex: step("inner"), finish: (result) => `${result}!` }),
    };
    expect(await solver().solve(background(), vertex)).toBe("inner!");
  });

  it("reports the first failure when everything has ended", async () => {
    const failing = step("failing", [], async () => {
      await delay(5);
      throw new Error("first");
    });
    let ended = false;
    const slow = step("slow", [], async () => {
      await delay(40);
      ended = true;
      throw new Error("second");
    });
    const late = step("late", [slow]);
    await expect(solver().solve(background(), step("top", [late, failing]))).rejects.toThrow("first");
    expect(ended).toBe(true);
    expect(log).not.toContain("+late");
  });

  it("does not run one key in two solvers at once, and does not wait for it longer than the caller does", async () => {
    const cache = new MapCache();
    const locks = new KeyedMutex();
    const options = { concurrency: 2, isUsable: () => true };
    log = [];
    const shared = () => step("shared", [], () => delay(30));
    const one = new Solver<string, string>(cache, locks, options).solve(background(), shared());
    const two = new Solver<string, string>(cache, locks, options).solve(background(), shared());
    const gone = new Solver<string, string>(cache, locks, options).solve(
      withSignal(background(), AbortSignal.abort()),
      shared(),
    );
    await expect(gone).rejects.toMatchObject({ code: "BUILD_CANCELLED" });
    expect(await Promise.all([one, two])).toEqual(["shared", "shared cached"]);
    expect(log).toEqual(["+shared", "-shared"]);
  });
});
