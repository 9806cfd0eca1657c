import { createReadStream } from "node:fs";
import { statfs } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { peek } from "../../archive/peek.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { ProgressSink } from "../../base/progress.ts";
import { diskErrors } from "../../disks/errors.ts";
import type { DiskFormat } from "../../disks/virtual-disks.ts";
import { mkdir } from "../../host/files.ts";
import { disksDir, files, tpmDir } from "../../instances/machine/layout.ts";
import type { OvfFile, OvfMachine } from "../../ovf/ovf-machine.ts";
import { type ReceivedOva, receiveOva } from "../../ovf/read-ova.ts";
import type { InstanceRecord } from "../../schema/instance.ts";
import type { MachineCdrom, MachineDisk } from "../../schema/machine.ts";
import type { CreateMachineBody } from "../../schema/machine-api.ts";
import { createMachine, hostFacts, makeUefiVariables, startOrRemove } from "../create.ts";
import { machineRequest } from "../hardware.ts";
import type { MachineParts } from "../parts.ts";
import { exchangeErrors } from "./errors.ts";
import { nicsFor } from "./imported-nics.ts";
import { openTransfer } from "./transfers.ts";

export interface ImportRequest {
  /** "" takes the description's, or the file's. */
  readonly name: string;
  /** Name of the file that is sent. */
  readonly file: string;
  /** "NAME", or "THEIRS=NAME". */
  readonly networks: readonly string[];
  /** It is there started, or not at all. */
  readonly start: boolean;
}

/** Left free on the data root's file system. Bytes. */
const reserve = 256 * 1024 * 1024;

/** See `MachineService.import`. What comes is a stranger's: it is judged before a machine is made of it. */
export async function importMachine(
  parts: MachineParts,
  ctx: OpContext,
  request: ImportRequest,
  source: Readable,
  progress: ProgressSink,
): Promise<InstanceRecord> {
  await using transfer = await openTransfer(parts.dataRoot);
  const { directory } = transfer;
  const { bavail, bsize } = await statfs(directory);
  const maxBytes = Math.max(0, bavail * bsize - reserve);
  const { head, whole } = await peek(source, 512);
  if (head.toString("latin1", 257, 262) === "ustar") {
    progress({ status: "Receiving the archive" });
    const ova = await receiveOva(ctx, whole, { directory, maxBytes });
    const record = await fromOva(parts, ctx, request, { ova, directory, maxBytes, progress });
    if (request.start) await startOrRemove(parts, ctx, record);
    return record;
  }
  progress({ status: "Receiving the disk" });
  const label = request.file === "" ? "disk" : request.file;
  const name = machineName(request.name === "" ? basename(request.file, extname(request.file)) : request.name);
  // Under a name of ours in the manner of theirs: the machine says what it was made from.
  const file = join(directory, plainName(label) || "disk");
  await parts.disks.receive(ctx, Readable.from(whole), file, maxBytes);
  await judge(parts, ctx, file, label);
  progress({ status: "Making the machine" });
  const nics = nicsFor(parts, [{ model: "virtio", network: "", mac: "" }], request.networks, () => {});
  return await createMachine(
    parts,
    ctx,
    { name, diskFile: file, nics: nics.map(({ network }) => ({ network })), start: request.start },
    progress,
  );
}

interface Received {
  readonly ova: ReceivedOva;
  readonly directory: string;
  readonly maxBytes: number;
  readonly progress: ProgressSink;
}

async function fromOva(
  parts: MachineParts,
  ctx: OpContext,
  request: ImportRequest,
  received: Received,
): Promise<InstanceRecord> {
  const { ova, progress } = received;
  const { machine } = ova;
  const warn = (warning: string) => progress({ status: `Note: ${warning}` });
  for (const warning of ova.warnings) warn(warning);
  const sources = await sourcesOf(parts, ctx, received);
  const host = hostFacts(parts);
  if (machine.tpm && !host.tpm) warn("it had a TPM, and has none here: swtpm is not installed");
  if (machine.firmware === "uefi" && !host.uefi) {
    throw exchangeErrors.IMPORT_TOO_MUCH_HARDWARE({ what: "UEFI, which is not installed here (apt-get install ovmf)" });
  }
  const body = bodyOf(parts, request, machine, { tpm: machine.tpm && host.tpm, warn });
  const root = { size: 0, file: "", format: "qcow2", base: "" } as const;
  const wanted = machineRequest(body, { source: request.file, root, iso: undefined }, host);
  if (wanted.machine === undefined) throw new Error("a machine without hardware");
  const hardware = {
    ...wanted.machine,
    disks: sources.disks.map(({ disk }) => disk),
    cdroms: sources.cdroms.map(({ cdrom }) => cdrom),
    boot: [...sources.disks.map(({ disk }) => disk.name), ...sources.cdroms.map(({ cdrom }) => cdrom.name)],
  };
  const { record } = await parts.instances.create(ctx, {
    ...wanted,
    machine: hardware,
    furnish: async (ctx, { dataDir }) => {
      await mkdir(disksDir(dataDir), { mode: 0o700 });
      if (hardware.tpm) await mkdir(tpmDir(dataDir), { mode: 0o700 });
      if (hardware.firmware === "uefi") {
        await makeUefiVariables(parts, ctx, join(disksDir(dataDir), files.uefiVariables));
      }
      for (const { file, format, disk, label } of sources.disks) {
        const target = join(disksDir(dataDir), disk.file);
        if (file === "") {
          await parts.disks.create(ctx, target, { size: disk.size });
          continue;
        }
        const percent = (done: number) =>
          progress({ id: disk.name, status: "Converting", current: Math.round(done * 100), total: 100 });
        await parts.disks.convert(ctx, {
          source: { file, format },
          target,
          format: "qcow2",
          name: label,
          progress: percent,
        });
        await parts.disks.resize(ctx, { file: target, format: "qcow2" }, disk.size);
      }
      for (const { file, cdrom } of sources.cdroms) {
        if (file !== "") await parts.disks.take(ctx, file, join(disksDir(dataDir), cdrom.file));
      }
    },
  });
  return record;
}

interface DiskSource {
  /** "" for a blank one. */
  readonly file: string;
  readonly format: DiskFormat;
  readonly label: string;
  readonly disk: MachineDisk;
}

/** Each disk and CD of the description as a file that has been judged. */
async function sourcesOf(
  parts: MachineParts,
  ctx: OpContext,
  received: Received,
): Promise<{
  readonly disks: readonly DiskSource[];
  readonly cdroms: readonly { readonly file: string; readonly cdrom: MachineCdrom }[];
}> {
  const { machine } = received.ova;
  const disks: DiskSource[] = [];
  for (const [index, { bus, capacity, file }] of machine.disks.entries()) {
    const name = index === 0 ? "root" : `disk${index}`;
    const as = (size: number): MachineDisk => ({
      name,
      bus,
      size: Math.ceil(size / 512) * 512,
      file: `${name}.qcow2`,
      format: "qcow2",
      base: "",
      readOnly: false,
    });
    if (file === undefined) {
      disks.push({ file: "", format: "qcow2", label: name, disk: as(Math.max(512, capacity)) });
      continue;
    }
    const path = await fileOf(parts, ctx, received, file);
    const { format, virtualSize } = await judge(parts, ctx, path, file.href);
    disks.push({ file: path, format, label: file.href, disk: as(Math.max(virtualSize, capacity)) });
  }
  const cdroms: { readonly file: string; readonly cdrom: MachineCdrom }[] = [];
  for (const [index, { file }] of machine.cdroms.entries()) {
    const name = `cd${index}`;
    const path = file === undefined ? "" : await fileOf(parts, ctx, received, file);
    const cdrom = {
      name,
      bus: "sata",
      file: file === undefined ? "" : `${name}.iso`,
      source: file?.href ?? "",
    } as const;
    cdroms.push({ file: path, cdrom });
  }
  return { disks, cdroms };
}

/** One file, whole and unpacked. */
async function fileOf(
  { disks }: MachineParts,
  ctx: OpContext,
  { ova, directory, maxBytes }: Received,
  file: OvfFile,
): Promise<string> {
  const pieces = ova.pieces(file);
  const [only] = pieces;
  if (pieces.length === 1 && only !== undefined && file.compression === "identity") return only.path;
  const target = join(directory, `${basename(only?.path ?? "")}.whole`);
  const joined = Readable.from(
    (async function* () {
      for (const { path } of pieces) yield* createReadStream(path);
    })(),
  );
  if (file.compression === "identity") await disks.receive(ctx, joined, target, maxBytes);
  else {
    const unpacked = createGunzip();
    joined.once("error", (error) => unpacked.destroy(error));
    try {
      await disks.receive(ctx, joined.pipe(unpacked), target, maxBytes);
    } catch (error) {
      const isZlib = error instanceof Error && "code" in error && String(error.code).startsWith("Z_");
      if (isZlib)
        throw diskErrors.DISK_CORRUPT({ file: file.href, reason: "it can't be decompressed" }, { cause: error });
      throw error;
    }
  }
  return target;
}

/** What a stranger's disk is; refused unless it is safe, whole and sound. */
async function judge({ disks }: MachineParts, ctx: OpContext, file: string, name: string) {
  const info = await disks.inspect(ctx, file, { name });
  const { corruptions } = await disks.check(ctx, { file, format: info.format });
  if (corruptions > 0) throw diskErrors.DISK_CORRUPT({ file: name, reason: `${corruptions} clusters are wrong` });
  return info;
}

function bodyOf(
  parts: MachineParts,
  request: ImportRequest,
  machine: OvfMachine,
  { tpm, warn }: { readonly tpm: boolean; readonly warn: (warning: string) => void },
): CreateMachineBody {
  if (machine.cpus > 255) throw exchangeErrors.IMPORT_TOO_MUCH_HARDWARE({ what: `${machine.cpus} processors` });
  return {
    name: machineName(request.name === "" ? machine.name : request.name),
    cpus: machine.cpus,
    memory: machine.memory,
    os: machine.os,
    firmware: machine.firmware,
    tpm,
    nics: [...nicsFor(parts, machine.nics, request.networks, warn)],
  };
}

/** The description's is free text: what it has between its words becomes dashes. `IMPORT_NAME_MISSING`. */
function machineName(found: string): string {
  const name = plainName(found);
  if (name === "") throw exchangeErrors.IMPORT_NAME_MISSING({ found });
  return name;
}

function plainName(found: string): string {
  return found
    .trim()
    .replaceAll(/[^A-Za-z0-9_.-]+/g, "-")
    .replaceAll(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 63);
}
