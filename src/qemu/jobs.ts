import { messageOf } from "../base/errors.ts";
import { cleanupContext, type OpContext, withTimeout } from "../base/op-context.ts";
import { qemuErrors } from "./errors.ts";
import type { JsonObject } from "./json-lines.ts";
import type { QmpClient } from "./qmp-client.ts";
import { listOf, numberOf, objectOf, stringOf } from "./reply.ts";

export interface JobOptions {
  /** For messages: "the snapshot before-upgrade". */
  readonly what: string;
  readonly limitMs: number;
  /** 0 to 1, now and then. */
  readonly progress?: (done: number) => void;
}

/** How often a job is asked how far it is; its end comes as an event. */
const lookMs = 500;
/** For a job that was cancelled to let go of what it holds. */
const cancelMs = 10_000;

/** Starts one background job of QEMU's by `command`, which is told `job-id`; as {@link runJobs}. */
export async function runJob(
  ctx: OpContext,
  qmp: QmpClient,
  command: string,
  args: JsonObject & { readonly "job-id": string },
  options: JobOptions,
): Promise<void> {
  // QEMU may do the work before it answers: memory is written by the thread that serves the monitor.
  const start = async () => void (await qmp.execute(ctx, command, args, options.limitMs));
  await runJobs(ctx, qmp, [args["job-id"]], start, options);
}

/**
 * Waits for the end of all `jobs`, which `start` begins. `JOB_FAILED` has QEMU's reason; what takes longer than `limitMs`, or whose
 * caller goes away, is cancelled (`JOB_UNFINISHED`) as far as its kind can be. When one fails, the others are cancelled, too.
 */
export async function runJobs(
  ctx: OpContext,
  qmp: QmpClient,
  jobs: readonly string[],
  start: () => Promise<void>,
  options: JobOptions,
): Promise<void> {
  const timed = withTimeout(ctx, options.limitMs);
  const watches = jobs.map((job) => ({ job, events: qmp.events() }));
  const open = new Set(jobs);
  try {
    await start();
    for (const { job, events } of watches) {
      const isConcluded = await untilConcluded(timed, qmp, events, job, options.progress);
      if (!isConcluded) throw qemuErrors.JOB_FAILED({ job: options.what, reason: "QEMU has gone" });
      open.delete(job);
      await dismiss(ctx, qmp, job, options.what);
    }
  } catch (error) {
    if (qmp.isClosed) throw error;
    const isLate = timed.signal.aborted;
    for (const job of open) await cancel(cleanupContext(ctx, cancelMs), qmp, job);
    ctx.signal.throwIfAborted();
    if (!isLate) throw error;
    throw qemuErrors.JOB_UNFINISHED({ job: options.what, seconds: options.limitMs / 1000 }, { cause: error });
  } finally {
    for (const { events } of watches) events[Symbol.dispose]();
  }
}

/** False when the connection ended before the job. */
async function untilConcluded(
  ctx: OpContext,
  qmp: QmpClient,
  events: ReturnType<QmpClient["events"]>,
  job: string,
  progress: JobOptions["progress"],
): Promise<boolean> {
  const end = () => events.end();
  ctx.signal.addEventListener("abort", end, { once: true });
  const look = setInterval(() => {
    void report(ctx, qmp, job, progress);
  }, lookMs).unref();
  if (progress === undefined) clearInterval(look);
  try {
    for await (const { name, data } of events) {
      if (name === "JOB_STATUS_CHANGE" && data["id"] === job && data["status"] === "concluded") return true;
    }
    ctx.signal.throwIfAborted();
    return false;
  } finally {
    clearInterval(look);
    ctx.signal.removeEventListener("abort", end);
  }
}

async function report(ctx: OpContext, qmp: QmpClient, job: string, progress: JobOptions["progress"]): Promise<void> {
  try {
    const found = await find(ctx, qmp, job);
    if (found === undefined) return;
    const total = numberOf(found["total-progress"], "total-progress");
    if (total > 0) progress?.(Math.min(1, numberOf(found["current-progress"], "current-progress") / total));
  } catch (error) {
    ctx.log.debug({ job, error: messageOf(error) }, "progress of a job of QEMU's is not known");
  }
}

async function dismiss(ctx: OpContext, qmp: QmpClient, job: string, what: string): Promise<void> {
  const found = await find(ctx, qmp, job);
  const error = found?.["error"];
  await qmp.execute(ctx, "job-dismiss", { id: job });
  if (typeof error === "string") throw qemuErrors.JOB_FAILED({ job: what, reason: error });
}

/** Kinds that can't be cancelled go on; their end is then nobody's. */
async function cancel(ctx: OpContext, qmp: QmpClient, job: string): Promise<void> {
  try {
    using events = qmp.events();
    const found = await find(ctx, qmp, job);
    if (found === undefined) return;
    if (found["status"] !== "concluded") {
      await qmp.execute(ctx, "job-cancel", { id: job });
      await untilConcluded(ctx, qmp, events, job, undefined);
    }
    await qmp.execute(ctx, "job-dismiss", { id: job });
  } catch (error) {
    ctx.log.warn({ job, error: messageOf(error) }, "a job of QEMU's could not be cancelled");
  }
}

async function find(ctx: OpContext, qmp: QmpClient, job: string): Promise<JsonObject | undefined> {
  const jobs = listOf(await qmp.execute(ctx, "query-jobs"), "query-jobs").map((each) => objectOf(each, "a job"));
  return jobs.find((each) => stringOf(each["id"], "id") === job);
}
