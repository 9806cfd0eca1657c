/**
 * Live migration (docs/interop/live-block-operations and docs/devel/migration in QEMU's sources): disks are mirrored to the other QEMU's NBD
 * server while the guest runs, then its memory is; it stands still once little is left, the mirrors are brought to the same moment, and
 * the other QEMU has all of it.
 */
import { cleanupContext, type OpContext } from "../base/op-context.ts";
import { messageOf } from "../base/errors.ts";
import { qemuErrors } from "./errors.ts";
import type { EventStream } from "./event-stream.ts";
import type { QmpClient } from "./qmp-client.ts";
import { listOf, numberOf, objectOf, stringOf } from "./reply.ts";
import { waitForEvent } from "./wait-for-event.ts";

/** A day, for disks of terabytes. */
const copyMs = 24 * 3600_000;
/** For memory that is written to faster than it is sent: in the end the guest is slowed down (auto-converge). */
const memoryMs = 3600_000;
/** For the last of the disks and of the memory, while the guest stands still. */
const switchMs = 60_000;
const lookMs = 500;

export interface Departure {
  /** Nodes of all that the machine writes to; the other side exports each under its name. */
  readonly nodes: readonly string[];
  /** Sockets as QEMU sees them. */
  readonly diskSocket: string;
  readonly memorySocket: string;
  /** Of one kind at a time, 0 to 1. */
  readonly progress: (what: "disks" | "memory", done: number) => void;
}

/** Events of its own, a pause for the disks, disks that are let go late, and a guest that is slowed down where it writes too fast. */
const capabilities = ["events", "pause-before-switchover", "late-block-activate", "auto-converge"];
const targetOf = (node: string) => `moved-${node}`;
const jobOf = (node: string) => `move-${node}`;

/** Sends it. When it returns, the guest stands still here (with `stoodStillAt`, of performance.now), and the other side has all of it. */
export async function depart(
  ctx: OpContext,
  qmp: QmpClient,
  departure: Departure,
): Promise<{ readonly stoodStillAt: number }> {
  const { nodes, diskSocket, memorySocket, progress } = departure;
  await setCapabilities(ctx, qmp, capabilities, true);
  await qmp.execute(ctx, "migrate-set-parameters", { "max-bandwidth": 0x7fffffffffff, "downtime-limit": 200 });
  using events = qmp.events();
  await mirrorDisks(ctx, qmp, { nodes, diskSocket, progress }, events);
  using _reports = reporting(ctx, qmp, async () => {
    const done = await memoryDone(ctx, qmp);
    if (done !== undefined) progress("memory", done);
  });
  await qmp.execute(ctx, "migrate", { uri: `unix:${memorySocket}` });
  await untilMigration(ctx, qmp, events, "pre-switchover", memoryMs);
  const stoodStillAt = performance.now();
  for (const node of nodes) await endMirror(ctx, qmp, node, events);
  await qmp.execute(ctx, "migrate-continue", { state: "pre-switchover" });
  await untilMigration(ctx, qmp, events, "completed", switchMs);
  return { stoodStillAt };
}

/** Undoes whatever there is of a departure; the guest goes on here. */
export async function stay(ctx: OpContext, qmp: QmpClient, nodes: readonly string[]): Promise<void> {
  const attempt = async (command: string, args: Readonly<Record<string, unknown>> = {}) => {
    try {
      await qmp.execute(ctx, command, args);
    } catch (error) {
      ctx.log.debug({ command, error: messageOf(error) }, "there is nothing of a migration to undo");
    }
  };
  await attempt("migrate_cancel");
  for (const node of nodes) {
    await attempt("block-job-cancel", { device: jobOf(node), force: true });
    await untilGone(ctx, qmp, jobOf(node));
    await attempt("blockdev-del", { "node-name": targetOf(node) });
  }
  for (let looks = 0; looks < 100; looks++) {
    const status = await runState(ctx, qmp);
    if (status === "running") break;
    // It does not go on by itself where it stood still already.
    if (status !== "finish-migrate") await attempt("cont");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await attempt("migrate-set-capabilities", {
    capabilities: capabilities.map((capability) => ({ capability, state: false })),
  });
}

/** Whether there is anything of a departure that nobody sees to any more. */
export async function isDeparting(ctx: OpContext, qmp: QmpClient): Promise<boolean> {
  const jobs = listOf(await qmp.execute(ctx, "query-jobs"), "jobs").map((each) =>
    String(objectOf(each, "a job")["id"]),
  );
  const status = await runState(ctx, qmp);
  return jobs.some((id) => id.startsWith("move-")) || status === "finish-migrate" || status === "postmigrate";
}

async function mirrorDisks(
  ctx: OpContext,
  qmp: QmpClient,
  { nodes, diskSocket, progress }: Pick<Departure, "nodes" | "diskSocket" | "progress">,
  events: EventStream,
): Promise<void> {
  for (const node of nodes) {
    await qmp.execute(ctx, "blockdev-add", {
      driver: "nbd",
      "node-name": targetOf(node),
      server: { type: "unix", path: diskSocket },
      export: node,
      discard: "unmap",
      "detect-zeroes": "unmap",
    });
    await qmp.execute(ctx, "blockdev-mirror", {
      "job-id": jobOf(node),
      device: node,
      target: targetOf(node),
      sync: "full",
      "auto-dismiss": false,
    });
  }
  using _reports = reporting(ctx, qmp, async () => progress("disks", await jobsDone(ctx, qmp)));
  const missing = new Set(nodes.map(jobOf));
  while (missing.size > 0) {
    const event = await waitForEvent(
      ctx,
      events,
      ({ name, data }) =>
        (name === "BLOCK_JOB_READY" && missing.has(String(data["device"]))) ||
        (name === "JOB_STATUS_CHANGE" && missing.has(String(data["id"])) && data["status"] === "concluded"),
      copyMs,
    );
    if (event === undefined)
      throw qemuErrors.JOB_FAILED({ job: "the copy of the disks", reason: "QEMU has gone, or is too slow" });
    if (event.name === "JOB_STATUS_CHANGE") throw await jobFailure(ctx, qmp, String(event.data["id"]));
    missing.delete(String(event.data["device"]));
  }
}

/** Both sides are the same now, and the guest stands still: the copy is left as it is. */
async function endMirror(ctx: OpContext, qmp: QmpClient, node: string, events: EventStream): Promise<void> {
  const job = jobOf(node);
  await qmp.execute(ctx, "block-job-cancel", { device: job, force: false });
  const isConcluded = ({ name, data }: { readonly name: string; readonly data: Readonly<Record<string, unknown>> }) =>
    name === "JOB_STATUS_CHANGE" && data["id"] === job && data["status"] === "concluded";
  if ((await waitForEvent(ctx, events, isConcluded, switchMs)) === undefined)
    throw qemuErrors.JOB_UNFINISHED({ job: `the copy of the disk ${node}`, seconds: switchMs / 1000 });
  const failure = await jobFailure(ctx, qmp, job);
  await qmp.execute(ctx, "job-dismiss", { id: job });
  if (failure.reason !== undefined) throw failure;
  await qmp.execute(ctx, "blockdev-del", { "node-name": targetOf(node) });
}

async function untilMigration(
  ctx: OpContext,
  qmp: QmpClient,
  events: EventStream,
  wanted: "pre-switchover" | "completed",
  limitMs: number,
): Promise<void> {
  const event = await waitForEvent(
    ctx,
    events,
    ({ name, data }) =>
      (name === "MIGRATION" && [wanted, "completed", "failed", "cancelled"].includes(String(data["status"]))) ||
      (name === "BLOCK_JOB_ERROR" && String(data["device"]).startsWith("move-")),
    limitMs,
  );
  if (event?.name === "MIGRATION" && event.data["status"] === wanted) return;
  const reason =
    event === undefined
      ? "QEMU has gone, or is too slow"
      : event.name === "BLOCK_JOB_ERROR"
        ? "a disk could not be written there"
        : await migrationError(ctx, qmp);
  throw qemuErrors.JOB_FAILED({ job: "the migration of its memory", reason });
}

// --- the other side

/** Makes a QEMU that was started with `-incoming defer -S` take disks on `diskSocket` and memory on `memorySocket`, paths as it sees them. */
export async function awaitArrival(
  ctx: OpContext,
  qmp: QmpClient,
  { nodes, diskSocket, memorySocket }: Pick<Departure, "nodes" | "diskSocket" | "memorySocket">,
): Promise<void> {
  await setCapabilities(ctx, qmp, ["events", "late-block-activate"], true);
  await qmp.execute(ctx, "nbd-server-start", { addr: { type: "unix", data: { path: diskSocket } } });
  for (const node of nodes) {
    const names = { id: `move-${node}`, "node-name": node, name: node };
    await qmp.execute(ctx, "block-export-add", { type: "nbd", writable: true, ...names });
  }
  await qmp.execute(ctx, "migrate-incoming", { uri: `unix:${memorySocket}` });
}

/** All of it is here: the guest goes on. */
export async function arrive(ctx: OpContext, qmp: QmpClient): Promise<void> {
  const deadline = performance.now() + switchMs;
  for (;;) {
    const migration = objectOf(await qmp.execute(ctx, "query-migrate"), "migration");
    if (migration["status"] === "completed") break;
    if (migration["status"] === "failed" || performance.now() > deadline)
      throw qemuErrors.JOB_FAILED({ job: "the arrival of its memory", reason: await migrationError(ctx, qmp) });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await qmp.execute(ctx, "nbd-server-stop");
  await qmp.execute(ctx, "cont");
  const status = await runState(ctx, qmp);
  if (status !== "running") throw qemuErrors.JOB_FAILED({ job: "the arrival", reason: `the guest is "${status}"` });
}

export async function runState(ctx: OpContext, qmp: QmpClient): Promise<string> {
  return stringOf(objectOf(await qmp.execute(ctx, "query-status"), "status")["status"], "status");
}

/** Bytes of each node. */
export async function nodeSizes(ctx: OpContext, qmp: QmpClient): Promise<ReadonlyMap<string, number>> {
  const nodes = listOf(await qmp.execute(ctx, "query-named-block-nodes", { flat: true }), "nodes");
  return new Map(
    nodes.map((each) => {
      const node = objectOf(each, "a node");
      const size = numberOf(objectOf(node["image"], "image")["virtual-size"], "virtual-size");
      return [stringOf(node["node-name"], "node-name"), size];
    }),
  );
}

export async function usesKvm(ctx: OpContext, qmp: QmpClient): Promise<boolean> {
  return objectOf(await qmp.execute(ctx, "query-kvm"), "kvm")["enabled"] === true;
}

async function setCapabilities(
  ctx: OpContext,
  qmp: QmpClient,
  names: readonly string[],
  state: boolean,
): Promise<void> {
  await qmp.execute(ctx, "migrate-set-capabilities", {
    capabilities: names.map((capability) => ({ capability, state })),
  });
}

async function migrationError(ctx: OpContext, qmp: QmpClient): Promise<string> {
  if (qmp.isClosed) return "QEMU has gone";
  const migration = objectOf(await qmp.execute(cleanupContext(ctx), "query-migrate"), "migration");
  const said = migration["error-desc"];
  return typeof said === "string" ? said : `it is "${String(migration["status"])}"`;
}

async function memoryDone(ctx: OpContext, qmp: QmpClient): Promise<number | undefined> {
  const { ram } = objectOf(await qmp.execute(ctx, "query-migrate"), "migration");
  if (ram === undefined) return undefined;
  const { total, remaining } = objectOf(ram, "ram");
  const all = numberOf(total, "total");
  return all === 0 ? undefined : 1 - numberOf(remaining, "remaining") / all;
}

async function jobsDone(ctx: OpContext, qmp: QmpClient): Promise<number> {
  let [current, total] = [0, 0];
  for (const each of listOf(await qmp.execute(ctx, "query-jobs"), "jobs")) {
    const job = objectOf(each, "a job");
    if (!String(job["id"]).startsWith("move-")) continue;
    current += numberOf(job["current-progress"], "current-progress");
    total += numberOf(job["total-progress"], "total-progress");
  }
  return total === 0 ? 0 : current / total;
}

/** Of a job that has concluded; its `reason` is undefined when it concluded well. */
async function jobFailure(ctx: OpContext, qmp: QmpClient, job: string) {
  const jobs = listOf(await qmp.execute(ctx, "query-jobs"), "jobs").map((each) => objectOf(each, "a job"));
  const said = jobs.find(({ id }) => id === job)?.["error"];
  const reason = typeof said === "string" ? said : undefined;
  return Object.assign(qemuErrors.JOB_FAILED({ job: "the copy of a disk", reason: reason ?? "it ended too early" }), {
    reason,
  });
}

async function untilGone(ctx: OpContext, qmp: QmpClient, job: string): Promise<void> {
  for (let looks = 0; looks < 200; looks++) {
    const jobs = listOf(await qmp.execute(ctx, "query-jobs"), "jobs").map((each) => objectOf(each, "a job"));
    const found = jobs.find(({ id }) => id === job);
    if (found === undefined) return;
    if (found["status"] === "concluded") return void (await qmp.execute(ctx, "job-dismiss", { id: job }));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function reporting(ctx: OpContext, qmp: QmpClient, report: () => Promise<void>): Disposable {
  const look = setInterval(() => {
    if (qmp.isClosed) return;
    report().catch((error: unknown) =>
      ctx.log.debug({ error: messageOf(error) }, "progress of a migration is not known"),
    );
  }, lookMs).unref();
  return { [Symbol.dispose]: () => clearInterval(look) };
}
