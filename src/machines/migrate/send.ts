/** A running machine to another engine: until that has all of it, the machine is this engine's, whatever fails. */
import { messageOf } from "../../base/errors.ts";
import { background, cleanupContext, type OpContext } from "../../base/op-context.ts";
import type { ProgressSink } from "../../base/progress.ts";
import { socketsDir } from "../../instances/machine/layout.ts";
import { depart, stay } from "../../qemu/migration.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import type { MigrateMachineBody, MigrationReport } from "../../schema/machine-migrate-api.ts";
import { changeMachine } from "../live/changing.ts";
import { openMonitor } from "../live/monitor.ts";
import type { MachineParts, MachineRecord } from "../parts.ts";
import { resolveMachine } from "../parts.ts";
import { migrateErrors } from "./errors.ts";
import { markHandingOver, unmarkHandingOver } from "./outgoing-mark.ts";
import type { Arrival, MigrationPeer } from "./peer.ts";
import { listenAndRelay } from "./relay.ts";
import { socketOf, socketsInJail } from "./sockets.ts";
import { transferOf } from "./transfer.ts";

/** For the other engine's answer whether it has the machine, when the connection was lost just then. */
const settleMs = 30_000;
const lookMs = 500;

/** See `MachineService.migrate`. */
export async function migrateMachine(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  { to, name, keep = false }: MigrateMachineBody,
  progress: ProgressSink,
): Promise<MigrationReport> {
  const { id } = resolveMachine(parts, nameOrId);
  using peer = parts.peer(to);
  const report = await changeMachine(parts, ctx, id, async ({ record, held, dataDir }) => {
    using monitor = await openMonitor(parts, ctx, record);
    const { qmp } = monitor;
    const transfer = await transferOf(ctx, record, dataDir, qmp);
    progress({ status: `Making ${name ?? record.name} on the engine at ${to}` });
    const spec = name === undefined ? transfer.spec : { ...transfer.spec, name, hostname: name };
    using arrival = await peer.send(ctx, { ...transfer, spec });
    const nodes = transfer.disks.map(({ node }) => node);
    const sockets = socketsDir(held.runDir);
    const relayOf = async (channel: "disks" | "memory") =>
      await listenAndRelay(socketOf(sockets, channel), ctx.log, () => arrival.connect(ctx, channel));
    let stoodStillAt = 0;
    try {
      await using _disks = await relayOf("disks");
      await using _memory = await relayOf("memory");
      const sizes = transfer.disks.reduce((sum, { size }) => sum + size, 0);
      const shown = (what: "disks" | "memory", done: number) => {
        const total = what === "disks" ? sizes : Math.max(1, spec.resources.memory);
        progress({ id: what, status: "Copying", current: Math.round(done * total), total });
      };
      ({ stoodStillAt } = await depart(ctx, qmp, { nodes, ...socketsInJail, progress: shown }));
      ctx.signal.throwIfAborted();
      // From here on it is not this engine's alone to say who has it.
      await markHandingOver(dataDir, { to, id: arrival.ready.id, keep });
    } catch (error) {
      await stay(cleanupContext(ctx), qmp, nodes);
      throw error;
    }
    await handOver(parts, background(ctx.log), { record, dataDir, qmp, nodes, arrival, peer, to });
    const downtimeMs = Math.round(performance.now() - stoodStillAt);
    return { id: arrival.ready.id, name: arrival.ready.name, downtimeMs, notes: arrival.ready.notes };
  });
  const notes = await letGo(parts, background(ctx.log), { id, keep, peer, arrivedAs: report.id });
  return { ...report, notes: [...report.notes, ...notes] };
}

interface HandingOver {
  readonly record: MachineRecord;
  readonly dataDir: string;
  readonly qmp: QmpClient;
  readonly nodes: readonly string[];
  readonly arrival: Arrival;
  readonly peer: MigrationPeer;
  readonly to: string;
}

async function handOver(parts: MachineParts, ctx: OpContext, what: HandingOver): Promise<void> {
  const { record, dataDir, qmp, nodes, arrival, peer, to } = what;
  try {
    await arrival.finish(ctx);
  } catch (error) {
    ctx.log.warn(
      { machine: record.id, error: messageOf(error) },
      "the other engine did not say that it has the machine",
    );
    const state = await settle(ctx, peer, arrival.ready.id);
    if (state === "runs") return;
    if (state === undefined)
      throw migrateErrors.MIGRATION_UNCERTAIN({ machine: record.name, to, reason: messageOf(error) }, { cause: error });
    await stay(ctx, qmp, nodes);
    await unmarkHandingOver(dataDir);
    throw error;
  }
}

/** Undefined when the other engine does not answer for so long; nothing of it is left there when it is "gone". */
export async function settle(
  ctx: OpContext,
  peer: MigrationPeer,
  id: string,
  limitMs = settleMs,
): Promise<"runs" | "gone" | undefined> {
  for (const deadline = performance.now() + limitMs; performance.now() < deadline; ) {
    try {
      const state = await peer.stateOf(ctx, id);
      if (state !== "waits") return state;
      await peer.cancel(ctx, id);
    } catch (error) {
      ctx.log.debug({ error: messageOf(error) }, "the other engine does not answer");
    }
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
  return undefined;
}

export interface LettingGo {
  readonly id: string;
  readonly keep: boolean;
  readonly peer: MigrationPeer;
  /** Its id on the other engine. */
  readonly arrivedAs: string;
}

/** It runs there: what it was here goes, and its ports with it. Returns what is not as it was. */
export async function letGo(
  parts: MachineParts,
  ctx: OpContext,
  { id, keep, peer, arrivedAs }: LettingGo,
): Promise<readonly string[]> {
  const { ports } = resolveMachine(parts, id).spec.network;
  if (keep) {
    await parts.instances.stop(ctx, id, { signal: "SIGKILL", timeoutSeconds: 10 });
    await parts.instances.exclusive(ctx, id, async ({ dataDir }) => await unmarkHandingOver(dataDir));
  } else {
    await parts.instances.remove(ctx, id, { force: true, volumes: true });
    await parts.bases.collect();
  }
  if (ports.length === 0) return [];
  try {
    await peer.publish(ctx, arrivedAs, ports);
    return [];
  } catch (error) {
    return [`its ports are not published there: ${messageOf(error)}`];
  }
}
