/** ISOs in a machine's drives, and what it boots from. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { rm } from "../../host/files.ts";
import { disksDir, inJail } from "../../instances/machine/layout.ts";
import { namedDevices } from "../../qemu/devices.ts";
import { ejectMedium, insertMedium } from "../../qemu/disks.ts";
import type { MachineCdrom } from "../../schema/machine.ts";
import type { MediumBody } from "../../schema/machine-live-api.ts";
import { bootableFirmware } from "../iso.ts";
import { takeReadOnly } from "../media.ts";
import type { MachineParts } from "../parts.ts";
import { changeMachine, type Changing, recordAndDo, requireFreeName } from "./changing.ts";
import { liveErrors } from "./errors.ts";
import { isRunning, openMonitor } from "./monitor.ts";

const firstDrive = "cd0";

/** Puts an ISO into a drive, or takes out what is in it; a machine without a drive is given one for it. */
export async function changeMedium(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  { iso, drive: wanted }: MediumBody,
): Promise<void> {
  if (iso !== undefined) await bootableFirmware(iso); // That it is one.
  await changeMachine(parts, ctx, nameOrId, async (at) => {
    const { record, machine, dataDir } = at;
    const { drive, isNew } = driveOf(at, wanted, iso !== undefined);
    using monitor = isRunning(record) ? await openMonitor(parts, ctx, record) : undefined;
    await using reverter = new Reverter(ctx);
    const file = iso === undefined ? "" : `${drive.name}-${randomUUID().slice(0, 8)}.iso`;
    if (iso !== undefined) {
      await takeReadOnly(ctx, parts.disks, iso, join(disksDir(dataDir), file));
      reverter.add("remove the ISO", () => rm(join(disksDir(dataDir), file), { force: true }));
    }
    const changed = { ...drive, file, source: iso ?? "" };
    const cdroms = isNew
      ? [...machine.cdroms, changed]
      : machine.cdroms.map((each) => (each === drive ? changed : each));
    const boot = isNew ? [...machine.boot, drive.name] : machine.boot;
    await recordAndDo(ctx, at, { ...machine, cdroms, boot }, async () => {
      if (monitor === undefined) return;
      const { qmp } = monitor;
      const isThere = (await namedDevices(ctx, qmp)).has(drive.name);
      if (!isThere) await qmp.execute(ctx, "device_add", { driver: "scsi-cd", bus: "scsi.0", id: drive.name });
      if (file === "") await ejectMedium(ctx, qmp, drive.name);
      else await insertMedium(ctx, qmp, drive.name, `${inJail.disks(record.id)}/${file}`);
    });
    reverter.commit();
    if (drive.file !== "") await rm(join(disksDir(dataDir), drive.file), { force: true });
  });
}

function driveOf(
  at: Changing,
  wanted: string | undefined,
  mayAdd: boolean,
): { readonly drive: MachineCdrom; readonly isNew: boolean } {
  const { record, machine } = at;
  const found = wanted === undefined ? machine.cdroms[0] : machine.cdroms.find(({ name }) => name === wanted);
  if (found !== undefined) return { drive: found, isNew: false };
  const name = wanted ?? firstDrive;
  if (!mayAdd) throw liveErrors.DEVICE_NOT_FOUND({ what: "drive", device: name, machine: record.name });
  requireFreeName(at, name);
  return { drive: { name, bus: "scsi", file: "", source: "" }, isNew: true };
}

/** Which devices the firmware tries, from its next start of QEMU on. `DEVICE_NOT_FOUND`. */
export async function setBootOrder(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  order: readonly string[],
): Promise<void> {
  await changeMachine(parts, ctx, nameOrId, async ({ record, machine, held }) => {
    const known = new Set([...machine.disks, ...machine.cdroms, ...machine.nics].map(({ name }) => name));
    const unknown = order.find((name) => !known.has(name));
    if (unknown !== undefined) {
      throw liveErrors.DEVICE_NOT_FOUND({ what: "device", device: unknown, machine: record.name });
    }
    held.update((spec) => ({ ...spec, machine: { ...machine, boot: [...new Set(order)] } }));
  });
}
