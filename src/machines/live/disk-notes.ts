/**
 * What is being done to the files of a machine's disks, for the start after a kill: noted before the first effect, forgotten after the last.
 * The record decides: a file without a disk in it goes, and a disk comes to have its recorded size.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import type { OpContext } from "../../base/op-context.ts";
import { rm } from "../../host/files.ts";
import { publishText } from "../../host/publish.ts";
import { disksDir, inJail } from "../../instances/machine/layout.ts";
import { namedDevices } from "../../qemu/devices.ts";
import { growDisk, plugDisk } from "../../qemu/disks.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import type { MachineParts, MachineRecord } from "../parts.ts";
import { hotPorts } from "./changing.ts";

const DiskNote = Type.Object({
  /** In the directory of disks: a disk that is being attached, or deleted. */
  file: Type.String(),
  /** That file was there before, and stays also without a disk. */
  kept: Type.Boolean(),
  /** The name of a disk that is being made larger; "" for none. */
  grown: Type.String(),
});
export type DiskNote = Static<typeof DiskNote>;

const nothing: DiskNote = { file: "", kept: false, grown: "" };
const noteIn = (dataDir: string) => join(dataDir, "disk-change.json");

/** Does `work`, whose effects are safe to be finished by {@link mendDisks}; a failure has undone them itself. */
export async function withDiskNote<T>(dataDir: string, note: Partial<DiskNote>, work: () => Promise<T>): Promise<T> {
  await publishText(noteIn(dataDir), JSON.stringify({ ...nothing, ...note }));
  try {
    return await work();
  } finally {
    await rm(noteIn(dataDir), { force: true });
  }
}

/** At the engine's start. Of a machine that runs, `qmp` is its monitor. */
export async function mendDisks(
  parts: MachineParts,
  ctx: OpContext,
  { id, spec }: MachineRecord,
  dataDir: string,
  qmp?: QmpClient,
): Promise<void> {
  if (!existsSync(noteIn(dataDir))) return;
  const note: unknown = JSON.parse(await readFile(noteIn(dataDir), "utf8"));
  if (Check(DiskNote, note)) {
    const { disks } = spec.machine;
    const inFile = disks.find(({ file }) => file === note.file);
    const isNobodys = note.file !== "" && !note.kept && inFile === undefined;
    if (isNobodys) await rm(join(disksDir(dataDir), note.file), { force: true });
    if (inFile !== undefined && inFile.bus !== "sata" && qmp !== undefined) {
      const isThere = (await namedDevices(ctx, qmp)).has(inFile.name);
      const plug = { ...inFile, bus: inFile.bus, file: `${inJail.disks(id)}/${inFile.file}` };
      if (!isThere) await plugDisk(ctx, qmp, plug, hotPorts);
    }
    const grown = disks.find(({ name }) => name === note.grown);
    if (grown !== undefined) await growTo(parts, ctx, dataDir, grown, qmp);
  }
  await rm(noteIn(dataDir), { force: true });
}

async function growTo(
  { disks }: MachineParts,
  ctx: OpContext,
  dataDir: string,
  { name, file, format, size }: MachineRecord["spec"]["machine"]["disks"][number],
  qmp: QmpClient | undefined,
): Promise<void> {
  if (qmp === undefined) await disks.resize(ctx, { file: join(disksDir(dataDir), file), format }, size);
  else await growDisk(ctx, qmp, name, size);
}
