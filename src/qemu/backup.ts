/** Copies of a running machine's disks, all of the moment at which it begins; the machine writes on meanwhile. */
import { randomUUID } from "node:crypto";
import { messageOf } from "../base/errors.ts";
import { cleanupContext, type OpContext } from "../base/op-context.ts";
import { runJobs } from "./jobs.ts";
import type { QmpClient } from "./qmp-client.ts";

export interface DiskCopy {
  /** The disk's node. */
  readonly node: string;
  /** A qcow2 of the disk's size, as QEMU sees it: there, and empty. */
  readonly file: string;
}

export interface BackupOptions {
  /** For messages. */
  readonly name: string;
  readonly limitMs: number;
  /** Called once the moment is fixed: a guest that was made to stand still for it may go on. */
  readonly onBegun?: () => Promise<void>;
  /** 0 to 1. */
  readonly progress?: (done: number) => void;
}

/** When it fails the copies are of no use; nothing of it stays in QEMU. */
export async function backUpDisks(
  ctx: OpContext,
  qmp: QmpClient,
  copies: readonly DiskCopy[],
  options: BackupOptions,
): Promise<void> {
  const opened: string[] = [];
  const jobs = copies.map(() => `backup-${randomUUID()}`);
  try {
    const actions: object[] = [];
    for (const [nth, { node, file }] of copies.entries()) {
      const target = `backup${nth}`;
      await qmp.execute(ctx, "blockdev-add", {
        driver: "qcow2",
        "node-name": target,
        file: { driver: "file", filename: file },
      });
      opened.push(target);
      const data = { "job-id": jobs[nth], device: node, target, sync: "full", "auto-dismiss": false };
      actions.push({ type: "blockdev-backup", data });
    }
    const begin = async () => {
      await qmp.execute(ctx, "transaction", { actions }, 60_000);
      await options.onBegun?.();
    };
    const { name, limitMs, progress } = options;
    await runJobs(ctx, qmp, jobs, begin, { what: `the backup of ${name}`, limitMs, ...(progress && { progress }) });
  } finally {
    for (const target of opened) await close(cleanupContext(ctx), qmp, target);
  }
}

async function close(ctx: OpContext, qmp: QmpClient, target: string): Promise<void> {
  if (qmp.isClosed) return;
  try {
    await qmp.execute(ctx, "blockdev-del", { "node-name": target });
  } catch (error) {
    ctx.log.warn({ target, error: messageOf(error) }, "the file of a backup stays open in QEMU");
  }
}
