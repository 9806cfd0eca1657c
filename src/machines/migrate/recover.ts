/** At the engine's start: what a killed engine had under way between two engines. */
import { join } from "node:path";
import { isBerthError, messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { isIncoming, unmarkIncoming } from "../../instances/machine/incoming-mark.ts";
import { isDeparting, runState, stay } from "../../qemu/migration.ts";
import { isRunning, openMonitor } from "../live/monitor.ts";
import { isMachine, type MachineParts, type MachineRecord } from "../parts.ts";
import { handingOver, unmarkHandingOver } from "./outgoing-mark.ts";
import { letGo, settle } from "./send.ts";
import { writtenNodes } from "./transfer.ts";

/** Machines that had not arrived go: they are the other engine's still. One that runs has arrived. */
export async function removeHalfArrived(parts: MachineParts, ctx: OpContext): Promise<void> {
  for (const record of parts.instances.list().filter(isMachine)) {
    const dataDir = join(parts.dataRoot, "instances", record.id);
    if (!isIncoming(dataDir)) continue;
    if (await runsHere(parts, ctx, record)) await unmarkIncoming(dataDir);
    else await parts.instances.remove(ctx, record.id, { force: true, volumes: true });
  }
}

/** For another engine's answer: this one is not to wait for it with everything else. */
const askMs = 5000;

/** Machines on their way elsewhere go on here, unless they run there already. */
export async function endDepartures(parts: MachineParts, ctx: OpContext): Promise<void> {
  await Promise.all(
    parts.instances
      .list()
      .filter(isMachine)
      .map(async (record) => {
        try {
          await endDeparture(parts, ctx, record);
        } catch (error) {
          if (!isBerthError(error)) throw error;
          ctx.log.warn({ machine: record.id, error: messageOf(error) }, "where a machine is, is not known");
        }
      }),
  );
}

async function endDeparture(parts: MachineParts, ctx: OpContext, record: MachineRecord): Promise<void> {
  const dataDir = join(parts.dataRoot, "instances", record.id);
  const mark = await handingOver(dataDir);
  if (mark !== undefined) {
    using peer = parts.peer(mark.to);
    const state = await settle(ctx, peer, mark.id, askMs);
    if (state === "runs") {
      const notes = await letGo(parts, ctx, { id: record.id, keep: mark.keep, peer, arrivedAs: mark.id });
      return ctx.log.info({ machine: record.name, to: mark.to, notes }, "it runs on the other engine");
    }
    if (state === undefined) {
      const what = "whether it runs on the other engine is not known: it stands still here";
      return ctx.log.warn({ machine: record.name, to: mark.to }, what);
    }
    await unmarkHandingOver(dataDir);
  }
  if (record.state.status !== "running") return;
  using monitor = await openMonitor(parts, ctx, record);
  if (await isDeparting(ctx, monitor.qmp)) await stay(ctx, monitor.qmp, writtenNodes(record.spec.machine));
}

async function runsHere(parts: MachineParts, ctx: OpContext, record: MachineRecord): Promise<boolean> {
  if (!isRunning(record)) return false;
  try {
    using monitor = await openMonitor(parts, ctx, record);
    return (await runState(ctx, monitor.qmp)) === "running";
  } catch (error) {
    if (!isBerthError(error)) throw error;
    ctx.log.warn({ machine: record.id, error: messageOf(error) }, "a machine on its way here does not answer");
    return false;
  }
}
