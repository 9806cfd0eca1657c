/** Whole copies of a machine's disks, all of one moment, made beside the disks: of a machine that runs by QEMU, else by reading its files. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isBerthError, messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import type { DiskImage } from "../../disks/virtual-disks.ts";
import { rm } from "../../host/files.ts";
import { basesDir, disksDir, files, inJail } from "../../instances/machine/layout.ts";
import { backUpDisks } from "../../qemu/backup.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import { listOf, objectOf, stringOf } from "../../qemu/reply.ts";
import type { MachineDisk } from "../../schema/machine.ts";
import { type MachineParts, machinePaths, type MachineRecord } from "../parts.ts";
import { freezeGuest } from "./freeze.ts";
import { isRunning, openMonitor } from "./monitor.ts";

/** A name in the directory of disks that is nobody's disk: what a killed engine leaves of these is removed. */
const draftPrefix = ".copy-";
/** What `VirtualDisks` had not published. */
const isDraft = (name: string) => /\.draft-[0-9a-f]{12}$/.test(name);
/** A day, for disks of terabytes. */
const limitMs = 24 * 3600_000;

export interface WholeDisk {
  /** The disk's name; "uefi-vars" for the firmware's variables. */
  readonly name: string;
  /** A qcow2 with nothing behind it, in the machine's directory of disks: to be moved away. */
  readonly file: string;
}

export interface WholeDisks extends AsyncDisposable {
  readonly disks: readonly WholeDisk[];
  /** Whether the guest's file systems stood still at that moment. */
  readonly isConsistent: boolean;
}

/** Copies that are not moved away go when it is disposed. The machine's lock is not needed: it may be stopped meanwhile, which is an error. */
export async function copyWholeDisks(
  parts: MachineParts,
  ctx: OpContext,
  record: MachineRecord,
  dataDir: string,
  /** Of these disks alone. */
  only?: readonly string[],
): Promise<WholeDisks> {
  const { machine } = record.spec;
  const isWanted = (name: string) => only === undefined || only.includes(name);
  const directory = disksDir(dataDir);
  const copies = [
    ...machine.disks.map(({ name, file }) => ({
      name,
      source: sourceOf(parts, dataDir, { file, name }, machine.disks),
    })),
    ...(machine.firmware === "uefi"
      ? [{ name: "uefi-vars", source: { file: join(directory, files.uefiVariables), format: "qcow2" } as const }]
      : []),
  ]
    .filter(({ name }) => isWanted(name))
    .map((each) => ({ ...each, draft: `${draftPrefix}${randomUUID()}.qcow2` }));
  await using reverter = new Reverter(ctx);
  const remove = async () => {
    for (const { draft } of copies) await rm(join(directory, draft), { force: true });
  };
  reverter.add("remove the copies", remove);
  let isConsistent = true;
  if (isRunning(record)) {
    using monitor = await openMonitor(parts, ctx, record);
    for (const { source, draft } of copies) {
      const { virtualSize } = await parts.disks.inspect(ctx, source.file, { ...source, inUse: true, backing: source });
      await parts.disks.create(ctx, join(directory, draft), { size: virtualSize });
    }
    await using frozen = await freezeGuest(ctx, parts.agents.at(machinePaths(parts, record.id).qga), dataDir);
    isConsistent = frozen.isConsistent;
    const at = inJail.disks(record.id);
    const targets = copies.map(({ name, draft }) => ({ node: name, file: `${at}/${draft}` }));
    await backUpDisks(ctx, monitor.qmp, targets, { name: record.name, limitMs, onBegun: () => frozen.thaw() });
  } else {
    for (const { name, source, draft } of copies) {
      await parts.disks.convert(ctx, { source, target: join(directory, draft), format: "qcow2", name });
    }
  }
  reverter.commit();
  const disks = copies.map(({ name, draft }) => ({ name, file: join(directory, draft) }));
  return { disks, isConsistent, [Symbol.asyncDispose]: remove };
}

/** A disk of a machine's with what it stands on. */
export function sourceOf(
  { dataRoot }: Pick<MachineParts, "dataRoot">,
  dataDir: string,
  { file, name }: Pick<MachineDisk, "file" | "name">,
  disks: readonly MachineDisk[],
): DiskImage {
  const disk = disks.find((each) => each.name === name);
  const path = join(disksDir(dataDir), file);
  const format = disk?.format ?? "qcow2";
  if (disk === undefined || disk.base === "") return { file: path, format };
  return { file: path, format, backing: baseImage(dataRoot, disk.base) };
}

export function baseImage(dataRoot: string, base: string): DiskImage {
  return { file: join(basesDir(dataRoot), base), format: base.endsWith(".raw") ? "raw" : "qcow2" };
}

/** At the engine's start: ends copying that a killed engine had begun, and removes what there is of it. */
export async function removeLeftOvers(ctx: OpContext, dataDir: string, qmp: QmpClient | undefined): Promise<void> {
  const directory = disksDir(dataDir);
  const names = existsSync(directory) ? await readdir(directory) : [];
  const drafts = names.filter((name) => name.startsWith(draftPrefix) || isDraft(name));
  if (qmp !== undefined && drafts.some((name) => name.startsWith(draftPrefix))) await endJobs(ctx, qmp);
  for (const name of drafts) await rm(join(directory, name), { force: true });
}

async function endJobs(ctx: OpContext, qmp: QmpClient): Promise<void> {
  const attempt = async (command: string, args: Readonly<Record<string, string>>) => {
    try {
      await qmp.execute(ctx, command, args);
    } catch (error) {
      if (!isBerthError(error)) throw error;
      ctx.log.debug({ command, error: messageOf(error) }, "an old copy of a disk is not let go");
    }
  };
  const jobs = listOf(await qmp.execute(ctx, "query-jobs"), "jobs").map((each) =>
    stringOf(objectOf(each, "a job")["id"], "id"),
  );
  for (const id of jobs.filter((each) => each.startsWith("backup-"))) {
    await attempt("job-cancel", { id });
    await attempt("job-dismiss", { id });
  }
  const nodes = listOf(await qmp.execute(ctx, "query-named-block-nodes", { flat: true }), "nodes").map((each) =>
    stringOf(objectOf(each, "a node")["node-name"], "node-name"),
  );
  for (const node of nodes.filter((each) => /^backup\d+$/.test(each)))
    await attempt("blockdev-del", { "node-name": node });
}
