/** A copy of a machine's disks and of what it is, in a directory of the user's, while it runs. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import { messageOf } from "../../base/errors.ts";
import { newId } from "../../base/ids.ts";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { errnoOf } from "../../host/errors.ts";
import { mkdir, rename, rm, rmdir, writeFile } from "../../host/files.ts";
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
  const isNew = await requireTarget(directory);
  const { disks, firmware } = record.spec.machine;
  const names = [...disks.map(({ name }) => name), ...(firmware === "uefi" ? ["uefi-vars"] : [])];
  const files = names.map((name) => join(directory, `${name}.qcow2`));
  const note = join(dataDir, `${notePrefix}${newId().slice(0, 12)}`);
  const file = join(directory, "machine.json");
  const unfinished: Unfinished = {
    files: [...files, draftIn(directory)],
    last: file,
    directory: isNew ? directory : "",
  };
  reverter.add("remove the backup", () => removeUnfinished(note, unfinished));
  await writeFile(note, JSON.stringify(unfinished), { mode: 0o600 });
  await makeTarget(directory);
  await using copies = await copyWholeDisks(parts, ctx, record, dataDir);
  for (const { name, file } of copies.disks) await move(parts, ctx, file, join(directory, `${name}.qcow2`));
  const { machine, resources, network, labels } = record.spec;
  const description = { name: record.name, takenAt: new Date().toISOString(), machine, resources, network, labels };
  await writeFile(draftIn(directory), `${JSON.stringify(description, null, 2)}\n`, { mode: 0o600 });
  await rename(draftIn(directory), file);
  reverter.commit();
  await rm(note, { force: true });
  return { files: [...files, file], consistent: copies.isConsistent };
}

/** In a machine's directory: what there is of a backup that is being made. */
const notePrefix = "backup-";
const draftIn = (directory: string) => join(directory, ".machine.json");

const Unfinished = Type.Object({
  files: Type.Array(Type.String()),
  /** What comes last: once it is there, the backup is whole. */
  last: Type.String(),
  /** Where it was made for it; "" for one that had been there. */
  directory: Type.String(),
});
type Unfinished = Static<typeof Unfinished>;

/** At the engine's start: removes what a killed one has written. */
export async function removeUnfinishedBackups(ctx: OpContext, dataDir: string): Promise<void> {
  for (const name of (await readdir(dataDir)).filter((each) => each.startsWith(notePrefix))) {
    const note = join(dataDir, name);
    const unfinished = parsed(await readFile(note, "utf8"));
    if (unfinished === undefined) {
      ctx.log.warn({ file: note }, "a note of a backup was not written to its end: nothing had been done");
      await rm(note, { force: true });
    } else await removeUnfinished(note, unfinished);
  }
}

async function removeUnfinished(note: string, { files, last, directory }: Unfinished): Promise<void> {
  const isWhole = existsSync(last);
  if (!isWhole) for (const file of files) await rm(file, { force: true });
  if (!isWhole && directory !== "" && existsSync(directory) && (await readdir(directory)).length === 0)
    await rmdir(directory);
  await rm(note, { force: true });
}

function parsed(text: string): Unfinished | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Check(Unfinished, value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Whether it has to be made. */
async function requireTarget(directory: string): Promise<boolean> {
  if (!existsSync(directory)) return true;
  let reason = "it is not empty";
  try {
    if ((await readdir(directory)).length === 0) return false;
  } catch (error) {
    reason = messageOf(error);
  }
  throw liveErrors.BACKUP_TARGET_INVALID({ directory, reason });
}

async function makeTarget(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
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
