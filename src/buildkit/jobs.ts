/** Builds under way: one client's calls on them come apart (Solve, Status, the bridge's), tied by the build's reference. */
import { type OpContext, withSignal } from "../base/op-context.ts";
import type { SolvedBuild } from "./dockerfile-solve.ts";
import { buildKitErrors } from "./errors.ts";
import { StatusLog } from "./status-log.ts";
import type { SolveRequest } from "./wire/control.ts";

export interface Job {
  readonly ref: string;
  readonly request: SolveRequest;
  readonly status: StatusLog;
  /** Aborted when the client gave the build up. */
  readonly signal: AbortSignal;
  /** By their references. */
  readonly results: Map<string, SolvedBuild>;
  /** The client has chosen this result, or has failed. */
  finish(outcome: { readonly result: string } | { readonly error: Error }): void;
}

const jobLimit = 256;
/** Calls on a build may come before it, and Status after its end. */
const patienceMs = 10_000;

export class Jobs {
  readonly #jobs = new Map<string, Job>();
  readonly #waiting = new Set<() => void>();

  /** Runs a build from its Solve to its end; answers what its exporter says. */
  async run(
    ctx: OpContext,
    request: SolveRequest,
    work?: (ctx: OpContext, job: Job) => Promise<string>,
  ): Promise<Readonly<Record<string, string>>> {
    const { Ref: ref } = request;
    if (ref === "") throw buildKitErrors.BUILDKIT_OPTION_INVALID({ option: "Ref", value: ref });
    if (this.#jobs.has(ref)) throw buildKitErrors.BUILDKIT_BUILD_EXISTS({ ref });
    if (this.#jobs.size >= jobLimit) throw buildKitErrors.BUILDKIT_SESSIONS_TOO_MANY({ limit: jobLimit });
    const ended = new AbortController();
    const inJob = withSignal(ctx, ended.signal);
    const chosen = Promise.withResolvers<string>();
    const job: Job = {
      ref,
      request,
      status: new StatusLog(),
      signal: inJob.signal,
      results: new Map(),
      finish: (outcome) => ("result" in outcome ? chosen.resolve(outcome.result) : chosen.reject(outcome.error)),
    };
    this.#jobs.set(ref, job);
    for (const wake of this.#waiting) wake();
    const giveUp = (): void => chosen.reject(ctx.signal.reason);
    ctx.signal.addEventListener("abort", giveUp, { once: true });
    const working = work?.(inJob, job).then(chosen.resolve, chosen.reject);
    try {
      const result = await chosen.promise;
      return job.results.get(result)?.response ?? {};
    } finally {
      ctx.signal.removeEventListener("abort", giveUp);
      ended.abort(buildKitErrors.BUILDKIT_BUILD_NOT_FOUND({ ref }));
      // It undoes what it had begun.
      await working;
      job.status.end();
      setTimeout(() => this.#jobs.delete(ref), patienceMs).unref();
    }
  }

  /** Waits a while for a build that is not there yet. */
  async get(ctx: OpContext, ref: string): Promise<Job> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const job = this.#jobs.get(ref);
      if (job !== undefined) return job;
      const left = deadline - Date.now();
      if (left <= 0 || ctx.signal.aborted) throw buildKitErrors.BUILDKIT_BUILD_NOT_FOUND({ ref });
      await this.#change(ctx, left);
    }
  }

  async #change(ctx: OpContext, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    ctx.signal.addEventListener("abort", () => resolve(), { once: true });
    this.#waiting.add(resolve);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(resolve);
    }
  }
}
