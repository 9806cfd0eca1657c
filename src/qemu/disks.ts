/** Disks and media of a running machine. A disk is the node `<name>` on the node `<name>-file`, in the device `<name>`. */
import { Reverter } from "../base/reverter.ts";
import type { OpContext } from "../base/op-context.ts";
import { isRefusal } from "./command-error.ts";
import { freePort, namedDevices, unplug } from "./devices.ts";
import { qemuErrors } from "./errors.ts";
import type { QmpClient } from "./qmp-client.ts";

export interface DiskPlug {
  readonly name: string;
  /** As QEMU sees it. */
  readonly file: string;
  readonly format: "qcow2" | "raw";
  readonly readOnly: boolean;
  /** virtio: behind a port of its own; scsi: on the controller that is there. */
  readonly bus: "virtio" | "scsi";
}

/** Plugs a disk in. When any of it fails, nothing of it stays. */
export async function plugDisk(
  ctx: OpContext,
  qmp: QmpClient,
  disk: DiskPlug,
  ports: readonly string[],
): Promise<void> {
  const { name, file, format, readOnly } = disk;
  await using reverter = new Reverter(ctx);
  const access = { "read-only": readOnly };
  await qmp.execute(ctx, "blockdev-add", { driver: "file", "node-name": `${name}-file`, filename: file, ...access });
  reverter.add(
    "close the file",
    async (undo) => void (await qmp.execute(undo, "blockdev-del", { "node-name": `${name}-file` })),
  );
  await qmp.execute(ctx, "blockdev-add", {
    driver: format,
    "node-name": name,
    file: `${name}-file`,
    discard: "unmap",
    ...access,
  });
  reverter.add("close the disk", async (undo) => void (await qmp.execute(undo, "blockdev-del", { "node-name": name })));
  const common = { id: name, drive: name, serial: name };
  if (disk.bus === "scsi") await qmp.execute(ctx, "device_add", { driver: "scsi-hd", bus: "scsi.0", ...common });
  else {
    const bus = await freePort(ctx, qmp, ports);
    await qmp.execute(ctx, "device_add", { driver: "virtio-blk-pci", bus, ...common });
  }
  reverter.commit();
}

/** Takes a disk out, once the guest has let go of it (`GUEST_KEEPS_DEVICE`). Also one that an earlier try has half taken out. */
export async function unplugDisk(ctx: OpContext, qmp: QmpClient, name: string): Promise<void> {
  await unplug(ctx, qmp, name);
  for (const node of [name, `${name}-file`]) {
    try {
      await qmp.execute(ctx, "blockdev-del", { "node-name": node });
    } catch (error) {
      if (!isRefusal(error) || !/ind node|not found/.test(error.description)) throw error;
    }
  }
}

/** Tells the guest that its disk has come to have `size` bytes, and makes it so. */
export async function growDisk(ctx: OpContext, qmp: QmpClient, name: string, size: number): Promise<void> {
  await qmp.execute(ctx, "block_resize", { "node-name": name, size });
}

/** Puts an ISO into a drive, in place of what is in it, locked by the guest or not. `file` is as QEMU sees it. */
export async function insertMedium(ctx: OpContext, qmp: QmpClient, drive: string, file: string): Promise<void> {
  await requireDrive(ctx, qmp, drive);
  const args = { id: drive, filename: file, format: "raw", force: true, "read-only-mode": "read-only" };
  await qmp.execute(ctx, "blockdev-change-medium", args);
}

/** Opens a drive and takes out what is in it. */
export async function ejectMedium(ctx: OpContext, qmp: QmpClient, drive: string): Promise<void> {
  await requireDrive(ctx, qmp, drive);
  await qmp.execute(ctx, "blockdev-open-tray", { id: drive, force: true });
  await qmp.execute(ctx, "blockdev-remove-medium", { id: drive });
  await qmp.execute(ctx, "blockdev-close-tray", { id: drive });
}

async function requireDrive(ctx: OpContext, qmp: QmpClient, drive: string): Promise<void> {
  if (!(await namedDevices(ctx, qmp)).has(drive)) throw qemuErrors.DEVICE_MISSING({ device: drive });
}
