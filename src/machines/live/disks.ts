/** Disks that come and go, while the machine runs where the guest can. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Check } from "typebox/value";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { rm } from "../../host/files.ts";
import { disksDir, files, inJail } from "../../instances/machine/layout.ts";
import { plugDisk, unplugDisk } from "../../qemu/disks.ts";
import { DeviceName, type DiskBus, type MachineDisk } from "../../schema/machine.ts";
import type { AttachDiskBody } from "../../schema/machine-live-api.ts";
import type { MachineParts } from "../parts.ts";
import { moveDisk, takeDisk } from "../taken-disk.ts";
import { changeMachine, type Changing, hotPorts, recordAndDo, requireFreeName } from "./changing.ts";
import { withDiskNote } from "./disk-notes.ts";
import { liveErrors } from "./errors.ts";
import { isRunning, openMonitor } from "./monitor.ts";

/** A blank disk, a copy of a file, or one that was detached. */
export async function attachDisk(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  body: AttachDiskBody,
): Promise<void> {
  await changeMachine(parts, ctx, nameOrId, async (at) => {
    const bus = body.bus ?? (at.machine.os === "linux" ? "virtio" : "scsi");
    requireFreeName(at, body.name);
    if (isRunning(at.record) && bus === "sata") {
      throw liveErrors.BUS_NOT_HOT({ what: "a SATA disk", machine: at.record.name });
    }
    const file = `${body.name}.qcow2`;
    const kept = existsSync(join(disksDir(at.dataDir), file));
    await withDiskNote(at.dataDir, { file, kept }, () => attachFile(parts, ctx, at, { body, file, bus }));
  });
}

interface Attachment {
  readonly body: AttachDiskBody;
  /** In the directory of disks. */
  readonly file: string;
  readonly bus: DiskBus;
}

async function attachFile(
  parts: MachineParts,
  ctx: OpContext,
  at: Changing,
  { body, file, bus }: Attachment,
): Promise<void> {
  const { record, machine, dataDir } = at;
  using monitor = isRunning(record) ? await openMonitor(parts, ctx, record) : undefined;
  await using reverter = new Reverter(ctx);
  const path = join(disksDir(dataDir), file);
  await makeDisk(parts, ctx, reverter, body, path);
  const { virtualSize } = await parts.disks.inspect(ctx, path, { format: "qcow2" });
  const { name, readOnly = false } = body;
  const disk: MachineDisk = { name, bus, size: virtualSize, file, format: "qcow2", base: "", readOnly };
  await recordAndDo(ctx, at, { ...machine, disks: [...machine.disks, disk] }, async () => {
    if (monitor === undefined || bus === "sata") return;
    const plug = { name, file: `${inJail.disks(record.id)}/${file}`, format: "qcow2", readOnly, bus } as const;
    await plugDisk(ctx, monitor.qmp, plug, hotPorts);
  });
  reverter.commit();
}

async function makeDisk(
  parts: MachineParts,
  ctx: OpContext,
  reverter: Reverter,
  { name, size, file: source }: AttachDiskBody,
  file: string,
): Promise<void> {
  const detached = existsSync(file);
  const given = [size, source].filter((each) => each !== undefined).length;
  if (given !== (detached ? 0 : 1)) throw liveErrors.DISK_SOURCE_UNCLEAR({ device: name, detached });
  if (detached) return;
  // Before it is there: what makes it may fail after that.
  reverter.add("remove the disk", () => rm(file, { force: true }));
  if (size !== undefined) await parts.disks.create(ctx, file, { size: Math.ceil(size / 512) * 512 });
  else if (source !== undefined) {
    await using taken = await takeDisk(parts, ctx, source);
    await moveDisk(parts, ctx, taken, file, taken.virtualSize);
  }
}

/** Its file stays, to be attached again, unless it is to be deleted. That of one that was detached before can be deleted, too. */
export async function detachDisk(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  name: string,
  options: { readonly delete: boolean },
): Promise<void> {
  await changeMachine(parts, ctx, nameOrId, async (at) => {
    const { record, machine, dataDir } = at;
    const detached = join(disksDir(dataDir), `${name}.qcow2`);
    if (options.delete && !machine.disks.some((each) => each.name === name) && isDisk(name) && existsSync(detached)) {
      return await rm(detached, { force: true });
    }
    const disk = findDisk(at, name);
    if (disk.base !== "" && !options.delete) throw liveErrors.DISK_SHARES_BASE({ device: name });
    if (isRunning(record)) {
      if (disk.bus === "sata") throw liveErrors.BUS_NOT_HOT({ what: `the SATA disk ${name}`, machine: record.name });
      using monitor = await openMonitor(parts, ctx, record);
      await unplugDisk(ctx, monitor.qmp, name);
    }
    const disks = machine.disks.filter((each) => each !== disk);
    const boot = machine.boot.filter((each) => each !== name);
    const detach = () => at.held.update((spec) => ({ ...spec, machine: { ...machine, disks, boot } }));
    if (!options.delete) return void detach();
    await withDiskNote(dataDir, { file: disk.file }, async () => {
      detach();
      await rm(join(disksDir(dataDir), disk.file), { force: true });
    });
  });
  await parts.bases.collect();
}

/** Not another file of the machine's, nor one elsewhere. */
const isDisk = (name: string) => Check(DeviceName, name) && `${name}.qcow2` !== files.uefiVariables;

export function findDisk({ record, machine }: Changing, name: string): MachineDisk {
  const disk = machine.disks.find((each) => each.name === name);
  if (disk === undefined) throw liveErrors.DEVICE_NOT_FOUND({ what: "disk", device: name, machine: record.name });
  return disk;
}
