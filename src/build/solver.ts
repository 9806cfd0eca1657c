/**
 * Solves a graph of steps: each vertex once, inputs before it and beside each other, results from the cache where its key
 * is known. Knows nothing of Dockerfiles: BuildKit's front ends are to feed it as well.
 *
 * INVARIANTS
 *  - When `solve` settles, nothing of it is still running: the first failure aborts the rest and waits for it.
 *  - Two builds never run the step of one key at the same time: the second one finds the first one's result.
 */
import type { KeyedMutex } from "../base/keyed-mutex.ts";
import { type OpContext, withSignal } from "../base/op-context.ts";
import { buildErrors } from "./errors.ts";

/** A step. `R` is what it leads to, `C` what the cache keeps of it (JSON). */
export interface Vertex<R, C> {
  /** For the log. */
  readonly name: string;
  readonly inputs: readonly Vertex<R, C>[];
  /** Called once, when the inputs are solved: what is there to do? */
  plan(ctx: OpContext, inputs: readonly R[]): Promise<Plan<R, C>>;
}

export type Plan<R, C> =
  /** Nothing: the result is known. */
  | { readonly kind: "done"; readonly result: R }
  /** More vertices, found out on the way. */
  | { readonly kind: "expand"; readonly vertex: Vertex<R, C>; finish(result: R): R }
  | {
      readonly kind: "run";
      /** Names everything that the result depends on. */
      readonly key: string;
      /** From the cache's entry; undefined when that is no longer good. */
      restore(ctx: OpContext, cached: C): Promise<R | undefined>;
      run(ctx: OpContext): Promise<{ readonly result: R; readonly cached: C }>;
    };

export interface SolverCache<C> {
  get(key: string): C | undefined;
  put(key: string, entry: C): void;
}

export interface SolverOptions<C> {
  /** Steps that run at the same time. */
  readonly concurrency: number;
  /** Which results in the cache may be used. A step without one runs, and its result is remembered. */
  readonly isUsable: (entry: C) => boolean;
}

export class Solver<R, C> {
  readonly #cache: SolverCache<C>;
  readonly #locks: KeyedMutex;
  readonly #options: SolverOptions<C>;
  readonly #solved = new Map<Vertex<R, C>, Promise<R>>();
  readonly #abort = new AbortController();
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** `locks` is shared by all solvers of one cache. */
  constructor(cache: SolverCache<C>, locks: KeyedMutex, options: SolverOptions<C>) {
    this.#cache = cache;
    this.#locks = locks;
    this.#options = options;
    this.#free = options.concurrency;
  }

  /** The vertex's result; throws the first error of the graph. */
  async solve(ctx: OpContext, vertex: Vertex<R, C>): Promise<R> {
    return await this.#solve(withSignal(ctx, this.#abort.signal), vertex);
  }

  async #solve(ctx: OpContext, vertex: Vertex<R, C>): Promise<R> {
    const known = this.#solved.get(vertex);
    if (known !== undefined) return await known;
    const solving = this.#solveNew(ctx, vertex).catch((error: unknown) => {
      // The first failure is the one to report; what it aborts fails with it as the reason.
      this.#abort.abort(error);
      throw this.#abort.signal.reason;
    });
    this.#solved.set(vertex, solving);
    return await solving;
  }

  async #solveNew(ctx: OpContext, vertex: Vertex<R, C>): Promise<R> {
    const settled = await Promise.allSettled(vertex.inputs.map((input) => this.#solve(ctx, input)));
    const inputs = settled.map((outcome) => {
      if (outcome.status === "rejected") throw outcome.reason;
      return outcome.value;
    });
    throwIfCancelled(ctx);
    const plan = await vertex.plan(ctx, inputs);
    switch (plan.kind) {
      case "done":
        return plan.result;
      case "expand":
        return plan.finish(await this.#solve(ctx, plan.vertex));
      case "run":
        return await this.#runOrRestore(ctx, vertex, plan);
    }
  }

  async #runOrRestore(ctx: OpContext, vertex: Vertex<R, C>, plan: Extract<Plan<R, C>, { kind: "run" }>): Promise<R> {
    using _lock = await acquire(ctx, this.#locks, plan.key);
    const cached = this.#cache.get(plan.key);
    const isUsable = cached !== undefined && this.#options.isUsable(cached);
    const restored = isUsable ? await plan.restore(ctx, cached) : undefined;
    if (restored !== undefined) return restored;
    using _slot = await this.#slot(ctx);
    ctx.log.debug({ vertex: vertex.name, key: plan.key }, "running a build step");
    const { result, cached: entry } = await plan.run(ctx);
    this.#cache.put(plan.key, entry);
    return result;
  }

  async #slot(ctx: OpContext): Promise<Disposable> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    const slot = {
      [Symbol.dispose]: () => {
        const next = this.#waiting.shift();
        if (next === undefined) this.#free++;
        else next();
      },
    };
    if (ctx.signal.aborted) {
      slot[Symbol.dispose]();
      throwIfCancelled(ctx);
    }
    return slot;
  }
}

/** Throws what the operation was aborted with, or `BUILD_CANCELLED` when its caller went away. */
export function throwIfCancelled(ctx: OpContext): void {
  if (!ctx.signal.aborted) return;
  const reason: unknown = ctx.signal.reason;
  if (reason instanceof Error && reason.name !== "AbortError") throw reason;
  throw buildErrors.BUILD_CANCELLED(undefined, { cause: reason });
}

/** Waits for the key's turn, but not longer than the operation lasts. */
async function acquire(ctx: OpContext, locks: KeyedMutex, key: string): Promise<Disposable> {
  const acquiring = locks.acquire(key);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(ctx.signal.reason);
  ctx.signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([acquiring, aborted]);
  } catch (error) {
    void acquiring.then((lock) => lock[Symbol.dispose]());
    throwIfCancelled(ctx);
    throw error;
  } finally {
    ctx.signal.removeEventListener("abort", onAbort);
  }
}
