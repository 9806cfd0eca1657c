/** At the engine's start: what a killed engine was doing to a machine is undone, or done. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isBerthError, messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { rm } from "../../host/files.ts";
import { forgetResumePoint, hasMemoryLeft, hasResumePoint } from "../../instances/machine/resume-point.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import { objectOf, stringOf } from "../../qemu/reply.ts";
import { isMachine, type MachineParts, machinePaths } from "../parts.ts";
import { removeUnfinishedBackups } from "./back-up.ts";
import { mendDisks } from "./disk-notes.ts";
import { thawLeftOver } from "./freeze.ts";
import { openMonitor } from "./monitor.ts";
import { mendNics } from "./nics.ts";
import { removeMemoryLeft } from "./save.ts";
import { mendSnapshots } from "./snapshots.ts";
import { removeLeftOvers } from "./whole-disks.ts";

/**
 * Lets go on what was stopped, ends what had been saved, removes what was being copied, and finishes snapshots. What is wrong with one
 * machine is logged: the engine starts.
 */
export async function mendMachine(parts: MachineParts, ctx: OpContext, id: string): Promise<void> {
  try {
    const { dataDir, isSaved } = await parts.instances.exclusive(ctx, id, async ({ record, dataDir }) => {
      const nothing = { dataDir, isSaved: false };
      if (record.state.status === "paused" || !isMachine(record)) return nothing;
      await removeDrafts(dataDir);
      await removeUnfinishedBackups(ctx, dataDir);
      if (record.state.status !== "running") {
        await removeLeftOvers(ctx, dataDir, undefined);
        if (hasMemoryLeft(dataDir)) await removeMemoryLeft(parts, ctx, record, dataDir);
        await mendDisks(parts, ctx, record, dataDir);
        return nothing;
      }
      using monitor = await openMonitor(parts, ctx, record);
      await removeLeftOvers(ctx, dataDir, monitor.qmp);
      const status = await runState(ctx, monitor.qmp);
      const isSaved = hasResumePoint(dataDir);
      if (status === "running") await forgetResumePoint(dataDir);
      else if (!isSaved && (status === "paused" || status === "prelaunch")) await monitor.qmp.execute(ctx, "cont");
      if (hasMemoryLeft(dataDir)) await removeMemoryLeft(parts, ctx, record, dataDir, monitor.qmp);
      await mendDisks(parts, ctx, record, dataDir, monitor.qmp);
      return { dataDir, isSaved: isSaved && status !== "running" };
    });
    if (isSaved) await parts.instances.stop(ctx, id, { signal: "SIGKILL", timeoutSeconds: 10 });
    else await thawLeftOver(ctx, parts.agents.at(machinePaths(parts, id).qga), dataDir);
    await mendSnapshots(parts, ctx, id);
    await mendNics(parts, ctx, id);
  } catch (error) {
    if (!isBerthError(error)) throw error;
    ctx.log.warn({ machine: id, error: messageOf(error) }, "what was going on with a machine is not known");
  }
}

/** Of files that are published by rename. */
async function removeDrafts(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (name.endsWith(".draft")) await rm(join(dataDir, name), { force: true });
  }
}

async function runState(ctx: OpContext, qmp: QmpClient): Promise<string> {
  return stringOf(objectOf(await qmp.execute(ctx, "query-status"), "status")["status"], "status");
}
