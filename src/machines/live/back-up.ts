/** A copy of a machine's disks and of what it is, in a directory of the user's, while it runs. */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { errnoOf } from "../../host/errors.ts";
import { mkdir, rename, rm, writeFile } from "../../host/files.ts";
import type { BackupReport } from "../../schema/machine-live-api.ts";
import { type MachineParts, resolveMachine } from "../parts.ts";
import { liveErrors } from "./errors.ts";
import { requireNotSaved } from "./save.ts";
import { copyWholeDisks } from "./whole-disks.ts";

/** `BACKUP_TARGET_INVALID` unless the directory is empty, or can be made. Nothing of it stays when it fails. */
export async function backUpMachine(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  directory: string,
): Promise<BackupReport> {
  const record = resolveMachine(parts, nameOrId);
  const dataDir = join(parts.dataRoot, "instances", record.id);
  requireNotSaved(record.name, dataDir);
  await using reverter = new Reverter(ctx);
  await makeTarget(directory, reverter);
  await using copies = await copyWholeDisks(parts, ctx, record, dataDir);
  const written: string[] = [];
  reverter.add("remove the files", async () => {
    for (const file of written) await rm(file, { force: true });
  });
  for (const { name, file } of copies.disks) {
    const target = join(directory, `${name}.qcow2`);
    written.push(target);
    await move(parts, ctx, file, target);
  }
  const { machine, resources, network, labels } = record.spec;
  const description = { name: record.name, takenAt: new Date().toISOString(), machine, resources, network, labels };
  const file = join(directory, "machine.json");
  written.push(file);
  await writeFile(file, `${JSON.stringify(description, null, 2)}\n`, { mode: 0o600 });
  reverter.commit();
  return { files: written, consistent: copies.isConsistent };
}

async function makeTarget(directory: string, reverter: Reverter): Promise<void> {
  try {
    if (existsSync(directory)) {
      if ((await readdir(directory)).length > 0) throw new Error("it is not empty");
      return;
    }
    await mkdir(directory, { recursive: true, mode: 0o700 });
    reverter.add("remove the directory", () => rm(directory, { recursive: true, force: true }));
  } catch (error) {
    throw liveErrors.BACKUP_TARGET_INVALID({ directory, reason: messageOf(error) }, { cause: error });
  }
}

/** To another file system it is copied. */
async function move({ disks }: MachineParts, ctx: OpContext, file: string, target: string): Promise<void> {
  try {
    await rename(file, target);
  } catch (error) {
    if (errnoOf(error) !== "EXDEV") throw error;
    await disks.take(ctx, file, target);
    await rm(file, { force: true });
  }
}
