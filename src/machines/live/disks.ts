/** Disks that come and go, while the machine runs where the guest can. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { rm } from "../../host/files.ts";
import { disksDir, inJail } from "../../instances/machine/layout.ts";
import { plugDisk, unplugDisk } from "../../qemu/disks.ts";
import type { MachineDisk } from "../../schema/machine.ts";
import type { AttachDiskBody } from "../../schema/machine-live-api.ts";
import type { MachineParts } from "../parts.ts";
import { moveDisk, takeDisk } from "../taken-disk.ts";
import { changeMachine, type Changing, hotPorts, recordAndDo, requireFreeName } from "./changing.ts";
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
    const { record, machine, dataDir } = at;
    const bus = body.bus ?? (machine.os === "linux" ? "virtio" : "scsi");
    requireFreeName(at, body.name);
    const runs = isRunning(record);
    if (runs && bus === "sata") throw liveErrors.BUS_NOT_HOT({ what: "a SATA disk", machine: record.name });
    using monitor = runs ? await openMonitor(parts, ctx, record) : undefined;
    await using reverter = new Reverter(ctx);
    const name = `${body.name}.qcow2`;
    const file = join(disksDir(dataDir), name);
    await makeDisk(parts, ctx, reverter, body, file);
    const { virtualSize } = await parts.disks.inspect(ctx, file, { format: "qcow2" });
    const readOnly = body.readOnly ?? false;
    const disk: MachineDisk = {
      name: body.name,
      bus,
      size: virtualSize,
      file: name,
      format: "qcow2",
      base: "",
      readOnly,
    };
    await recordAndDo(ctx, at, { ...machine, disks: [...machine.disks, disk] }, async () => {
      if (monitor === undefined || bus === "sata") return;
      const plug = {
        name: body.name,
        file: `${inJail.disks(record.id)}/${name}`,
        format: "qcow2",
        readOnly,
        bus,
      } as const;
      await plugDisk(ctx, monitor.qmp, plug, hotPorts);
    });
    reverter.commit();
  });
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
  if (size !== undefined) await parts.disks.create(ctx, file, { size: Math.ceil(size / 512) * 512 });
  else if (source !== undefined) {
    await using taken = await takeDisk(parts, ctx, source);
    await moveDisk(parts, ctx, taken, file, taken.virtualSize);
  }
  reverter.add("remove the disk", () => rm(file, { force: true }));
}

/** Its file stays, to be attached again, unless it is to be deleted. */
export async function detachDisk(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  name: string,
  options: { readonly delete: boolean },
): Promise<void> {
  await changeMachine(parts, ctx, nameOrId, async (at) => {
    const { record, machine, dataDir } = at;
    const disk = findDisk(at, name);
    if (disk.base !== "" && !options.delete) throw liveErrors.DISK_SHARES_BASE({ device: name });
    if (isRunning(record)) {
      if (disk.bus === "sata") throw liveErrors.BUS_NOT_HOT({ what: `the SATA disk ${name}`, machine: record.name });
      using monitor = await openMonitor(parts, ctx, record);
      await unplugDisk(ctx, monitor.qmp, name);
    }
    const disks = machine.disks.filter((each) => each !== disk);
    const boot = machine.boot.filter((each) => each !== name);
    at.held.update((spec) => ({ ...spec, machine: { ...machine, disks, boot } }));
    if (options.delete) await rm(join(disksDir(dataDir), disk.file), { force: true });
  });
  await parts.bases.collect();
}

export function findDisk({ record, machine }: Changing, name: string): MachineDisk {
  const disk = machine.disks.find((each) => each.name === name);
  if (disk === undefined) throw liveErrors.DEVICE_NOT_FOUND({ what: "disk", device: name, machine: record.name });
  return disk;
}
