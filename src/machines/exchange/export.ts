import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { type DiskFormat, type DiskImage, diskFormats } from "../../disks/virtual-disks.ts";
import { basesDir, disksDir } from "../../instances/machine/layout.ts";
import type { OvfMachine } from "../../ovf/ovf-machine.ts";
import { diskFileName, type OvaDisk, writeOva } from "../../ovf/write-ova.ts";
import type { MachineDisk } from "../../schema/machine.ts";
import { type MachineParts, type MachineRecord, resolveMachine } from "../parts.ts";
import { exchangeErrors } from "./errors.ts";
import { openTransfer, type Transfer } from "./transfers.ts";

export interface Export {
  /** Of the file as it would be called. */
  readonly fileName: string;
  /** Destroy it, or read it to its end: what was made for it goes with it. */
  readonly body: Readable;
}

/** See `MachineService.export`. Everything is made before the first byte: what fails, fails with its own error. */
export async function exportMachine(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  { format, disk = "" }: { readonly format: string; readonly disk?: string },
): Promise<Export> {
  const record = resolveMachine(parts, nameOrId);
  const diskFormat = diskFormats.find((known) => known === format);
  if (format !== "ova" && diskFormat === undefined) throw exchangeErrors.EXPORT_FORMAT_UNKNOWN({ format });
  if (["running", "paused", "restarting"].includes(record.state.status)) {
    throw exchangeErrors.EXPORT_WHILE_RUNNING({ name: record.name });
  }
  const transfer = await openTransfer(parts.dataRoot);
  try {
    const body =
      diskFormat === undefined
        ? await wholeMachine(parts, ctx, record, transfer)
        : await oneDisk(parts, ctx, record, { transfer, format: diskFormat, name: disk });
    body.once("close", () => void dispose(ctx, transfer));
    return { fileName: `${record.name}.${format === "vpc" ? "vhd" : format}`, body };
  } catch (error) {
    await transfer[Symbol.asyncDispose]();
    throw error;
  }
}

async function dispose(ctx: OpContext, transfer: Transfer): Promise<void> {
  try {
    await transfer[Symbol.asyncDispose]();
  } catch (error) {
    ctx.log.warn(
      { directory: transfer.directory, error: messageOf(error) },
      "an export's files are left until the next start",
    );
  }
}

async function oneDisk(
  { disks, dataRoot }: MachineParts,
  ctx: OpContext,
  record: MachineRecord,
  { transfer, format, name }: { readonly transfer: Transfer; readonly format: DiskFormat; readonly name: string },
): Promise<Readable> {
  const all = record.spec.machine.disks;
  const disk = name === "" ? all.at(0) : all.find((each) => each.name === name);
  if (disk === undefined) throw exchangeErrors.EXPORT_NO_DISK({ name: record.name, disk: name });
  const target = join(transfer.directory, `${record.name}.${format}`);
  await disks.convert(ctx, { source: imageOf(dataRoot, record.id, disk), target, format, name: nameOf(record, disk) });
  return createReadStream(target, { highWaterMark: 1024 * 1024 });
}

async function wholeMachine(
  { disks, dataRoot }: MachineParts,
  ctx: OpContext,
  record: MachineRecord,
  { directory }: Transfer,
): Promise<Readable> {
  const files: OvaDisk[] = [];
  const described: OvfMachine["disks"][number][] = [];
  for (const [index, disk] of record.spec.machine.disks.entries()) {
    const source = imageOf(dataRoot, record.id, disk);
    const href = diskFileName(record.name, index);
    const path = join(directory, href);
    const name = nameOf(record, disk);
    await disks.convert(ctx, { source, target: path, format: "vmdk", subformat: "streamOptimized", name });
    const { virtualSize } = await disks.inspect(ctx, path, { format: "vmdk", name });
    const { size } = await stat(path);
    files.push({ path, size, sha256: (await disks.digest(ctx, path)).replace("sha256:", "") });
    described.push({
      bus: disk.bus,
      capacity: virtualSize,
      file: { href, size, compression: "identity", chunkSize: undefined },
    });
  }
  const machine: OvfMachine = { ...hardwareOf(record), disks: described };
  return Readable.from(writeOva(ctx, { name: record.name, machine, disks: files, date: new Date() }), {
    objectMode: false,
  });
}

function hardwareOf({ name, spec }: MachineRecord): Omit<OvfMachine, "disks"> {
  const { machine, resources, network } = spec;
  return {
    name,
    description: "",
    cpus: Math.max(1, Math.round(resources.nanoCpus / 1e9)),
    memory: resources.memory,
    os: machine.os,
    firmware: machine.firmware,
    tpm: machine.tpm,
    nics: machine.nics.map((nic) => ({
      model: nic.model,
      network: nic.network,
      mac: network.endpoints[nic.network]?.macAddress ?? "",
    })),
    cdroms: machine.cdroms.map(() => ({ file: undefined })),
  };
}

/** The disk's file with the base that it stands on. */
function imageOf(dataRoot: string, id: string, { file, format, base }: MachineDisk): DiskImage {
  const own = { file: join(disksDir(join(dataRoot, "instances", id)), file), format };
  if (base === "") return own;
  const backing = { file: join(basesDir(dataRoot), base), format: base.endsWith(".raw") ? "raw" : "qcow2" } as const;
  return { ...own, backing };
}

function nameOf(record: MachineRecord, disk: MachineDisk): string {
  return `${disk.name} of ${record.name}`;
}
