import { basename, join } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import type { ProgressSink } from "../../base/progress.ts";
import type { DiskImage } from "../../disks/virtual-disks.ts";
import { parseReference } from "../../images/reference.ts";
import type { TreeChoice } from "../../instances/qemu/disk-reader.ts";
import type { ImageRecord } from "../../schema/image.ts";
import type { ConvertToImageBody } from "../../schema/machine-convert-api.ts";
import { liveErrors } from "../live/errors.ts";
import { isRunning } from "../live/monitor.ts";
import { copyWholeDisks, sourceOf } from "../live/whole-disks.ts";
import { type MachineParts, type MachineRecord, resolveMachine } from "../parts.ts";
import { takeDisk } from "../taken-disk.ts";
import { convertErrors } from "./errors.ts";
import { configurationOf } from "./image-configuration.ts";
import { workDirectory } from "./intermediate.ts";

/** What makes a tree a machine's, or this one machine's: docs/machine-images.md lists it. */
const choice: TreeChoice = {
  leave: [
    "vmlinuz*",
    "initrd.img*",
    "swapfile",
    "swap.img",
    "lost+found",
    "lib/modules",
    "lib/firmware",
    "usr/lib/modules",
    "usr/lib/firmware",
    "usr/lib/berth",
    "etc/fstab",
    "etc/crypttab",
    "etc/resolv.conf",
    "etc/ssh/ssh_host_*",
    "etc/cloud/cloud.cfg.d/90_berth.cfg",
    "etc/systemd/network/80-berth-dhcp.network",
    "etc/systemd/system/berth-*.service",
    "etc/systemd/system/*.wants/berth-*.service",
    "var/lib/systemd/random-seed",
  ],
  empty: [
    "boot",
    "dev",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/tmp",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/lib/cloud",
    "var/log/journal",
  ],
};

/** See `MachineService.convertToImage`. */
export async function convertToImage(
  parts: MachineParts,
  ctx: OpContext,
  request: ConvertToImageBody,
  progress: ProgressSink,
): Promise<ImageRecord> {
  const { machine, diskFile, reference } = request;
  // Found out before a disk is read.
  parseReference(reference);
  if (diskFile !== undefined && machine === undefined) {
    await using taken = await takeDisk(parts, ctx, diskFile);
    const image = { file: taken.file, format: taken.format };
    return await imageOfDisk(parts, ctx, image, { ...request, name: basename(diskFile) }, progress);
  }
  if (machine === undefined || diskFile !== undefined) throw convertErrors.CONVERT_SOURCE_UNCLEAR({});
  const record = resolveMachine(parts, machine);
  const disk = diskOf(record, request.disk);
  const dataDir = join(parts.dataRoot, "instances", record.id);
  const named = { ...request, name: record.name };
  if (isRunning(record)) {
    progress({ id: "disk", status: `Copying the disk of ${record.name}, which runs on` });
    await using copies = await copyWholeDisks(parts, ctx, record, dataDir, [disk.name]);
    const [copy] = copies.disks;
    if (copy === undefined) throw convertErrors.CONVERT_NO_DISK({ machine: record.name, disk: disk.name });
    return await imageOfDisk(parts, ctx, { file: copy.file, format: "qcow2" }, named, progress);
  }
  // Its start waits: the disk is not to change under the reader.
  return await parts.instances.exclusive(ctx, record.id, async (held) => {
    if (isRunning(held.record))
      throw liveErrors.MACHINE_RUNS({ machine: record.name, what: "somebody has started it meanwhile" });
    const source = sourceOf(parts, dataDir, disk, record.spec.machine.disks);
    return await imageOfDisk(parts, ctx, source, named, progress);
  });
}

function diskOf({ name, spec }: MachineRecord, wanted: string | undefined) {
  const { disks } = spec.machine;
  const disk = wanted === undefined ? disks[0] : disks.find((each) => each.name === wanted);
  if (disk === undefined) throw convertErrors.CONVERT_NO_DISK({ machine: name, disk: wanted ?? "" });
  return disk;
}

/** What the reader's file systems put in order goes into an overlay that is thrown away. */
async function imageOfDisk(
  parts: MachineParts,
  ctx: OpContext,
  disk: DiskImage,
  { name, reference, changes = [] }: Pick<ConvertToImageBody, "reference" | "changes"> & { readonly name: string },
  progress: ProgressSink,
): Promise<ImageRecord> {
  await using work = await workDirectory(parts);
  const overlay = join(work.path, "overlay.qcow2");
  await parts.disks.overlay(ctx, overlay, { backing: disk });
  progress({ id: "disk", status: `Mounting the disk of ${name} in a machine of its own` });
  await using files = await parts.diskReader.open(ctx, { file: overlay, format: "qcow2", backing: disk }, name);
  const known = await configurationOf(ctx, files, name);
  progress({ id: "disk", status: "Packing its files" });
  const tar = await files.pack(ctx, choice);
  try {
    const onDiskLine: ProgressSink = (event) => progress({ ...event, id: "disk" });
    const request = { tar, reference, message: `converted from ${name}`, changes: [...known, ...changes] };
    return await parts.images.import(ctx, request, onDiskLine);
  } finally {
    tar.destroy();
  }
}
