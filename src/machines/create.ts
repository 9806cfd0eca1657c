import { basename, join } from "node:path";
import { sizeText } from "../base/byte-size.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import { Reverter } from "../base/reverter.ts";
import { nocloudSeed } from "../disks/nocloud/seed.ts";
import { mkdir, writeFile } from "../host/files.ts";
import { baseFromDisks, disksDir, files, tpmDir } from "../instances/machine/layout.ts";
import { hasUefi, uefiFiles } from "../instances/machine/uefi.ts";
import type { CloudInit } from "../schema/cloud-init.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { MachineFirmware } from "../schema/machine.ts";
import type { CreateMachineBody } from "../schema/machine-api.ts";
import type { HeldBase } from "./bases.ts";
import { machineRoomErrors } from "./errors.ts";
import { type HostFacts, machinePreset, machineRequest, type RootDisk, type Sources } from "./hardware.ts";
import { requireBootable } from "./iso.ts";
import { takeReadOnly } from "./media.ts";
import type { MachineParts } from "./parts.ts";
import { defaultDiskBytes } from "./presets.ts";
import { moveDisk, takeDisk, type TakenDisk } from "./taken-disk.ts";

const isoFile = "cd0.iso";
/** In a machine's directory: what cloud-init was asked for. */
export const cloudInitFile = "cloud-init.json";

/** See `MachineService.create`. What can be wrong with what it is made from is found out first; disks are made with the instance. */
export async function createMachine(
  parts: MachineParts,
  ctx: OpContext,
  given: CreateMachineBody,
  progress: ProgressSink,
  /** What people are told that it was made from, instead of the name of its image. */
  madeFrom?: string,
): Promise<InstanceRecord> {
  const host = hostFacts(parts);
  const body = { ...given };
  if (given.nics !== undefined) {
    body.nics = [];
    for (const nic of given.nics) body.nics.push({ ...nic, network: await networkNamed(parts, ctx, nic.network) });
  }
  requireOneSource(body);
  const firmware = body.firmware ?? machinePreset(body, host).firmware;
  if (body.iso !== undefined) await requireBootable(body.iso, firmware);
  using base = body.image === undefined ? undefined : await baseOfImage(parts, ctx, body.image, progress, madeFrom);
  await using taken = body.diskFile === undefined ? undefined : await takeDisk(parts, ctx, body.diskFile);
  const root = rootDisk(body, base?.virtualSize ?? taken?.virtualSize);
  const sources: Sources = {
    source: madeFrom ?? body.image ?? basename(body.diskFile ?? body.iso ?? ""),
    root: { ...root, base: base?.file ?? "" },
    iso: body.iso === undefined ? undefined : { file: isoFile, source: body.iso },
  };
  const request = machineRequest(body, sources, host);
  const tpm = request.machine?.tpm === true;
  const macs = Object.values(request.network.endpoints).flatMap(({ macAddress }) => macAddress ?? []);
  const { record } = await parts.instances.create(ctx, {
    ...request,
    furnish: (ctx, place) => furnish(parts, ctx, { ...place, body, root, base, taken, tpm, firmware, macs }),
  });
  if (body.start === true) await startOrRemove(parts, ctx, record);
  return parts.instances.resolve(record.id);
}

/** Asked for in one, it is made and started, or not there. */
export async function startOrRemove(
  { instances }: MachineParts,
  ctx: OpContext,
  { id }: InstanceRecord,
): Promise<void> {
  await using reverter = new Reverter(ctx);
  reverter.add("remove the machine", (ctx) => instances.remove(ctx, id, { force: true, volumes: true }));
  await instances.start(ctx, id);
  reverter.commit();
}

export function hostFacts({ host }: MachineParts): HostFacts {
  const { cpus, memoryBytes } = host.facts;
  return { cpus, memoryBytes, uefi: hasUefi(), tpm: host.processes.which("swtpm") !== undefined };
}

/**
 * As the network calls itself: a card finds its endpoint by it. "bridged" and "bridged:BRIDGE" stand for networks that are made when they
 * are first asked for: of the bridge that the host's default route goes through, and of that one.
 */
async function networkNamed({ networks }: MachineParts, ctx: OpContext, name: string): Promise<string> {
  const bridged = /^bridged(?::(.+))?$/.exec(name);
  if (bridged === null || networks.list().some(({ spec }) => spec.name === name))
    return networks.resolve(name).spec.name;
  const [, parent = ""] = bridged;
  const own = parent === "" ? "bridged" : `bridged-${parent}`;
  if (networks.list().some(({ spec }) => spec.name === own)) return own;
  const plain = { internal: false, attachable: false, enableIPv6: false, ipam: [], labels: {} };
  const options = parent === "" ? {} : { parent };
  const { network } = await networks.create(ctx, { ...plain, name: own, driver: "bridged", options });
  return network.spec.name;
}

/** An ISO goes with a disk's file; an image and a file can't both be the one disk. */
function requireOneSource({ image, iso, diskFile }: CreateMachineBody): void {
  const given = [...(image === undefined ? [] : ["--image"]), ...(diskFile === undefined ? [] : ["--disk-file"])];
  if (given.length > 1 || (given.length === 0 && iso === undefined)) {
    throw machineRoomErrors.MACHINE_SOURCE_UNCLEAR({ given });
  }
}

/** `machine/NAME`, where disk images are kept beside the images of the same name that they are made of; else NAME, or a disk made of it. */
async function baseOfImage(
  parts: MachineParts,
  ctx: OpContext,
  name: string,
  progress: ProgressSink,
  label = name,
): Promise<HeldBase> {
  const image = await parts.machineImages.ensure(ctx, name, progress);
  return await parts.bases.ofImage(ctx, image, label, progress);
}

/** `least` is what it is made from has; undefined for a blank one. */
function rootDisk({ disk, diskFile }: CreateMachineBody, least: number | undefined): Omit<RootDisk, "base"> {
  if (disk !== undefined && disk < (least ?? 0)) {
    const source = diskFile ?? "the image's disk";
    throw machineRoomErrors.DISK_TOO_SMALL({ wanted: sizeText(disk), source, has: sizeText(least ?? 0) });
  }
  const wanted = disk ?? (diskFile === undefined ? Math.max(least ?? 0, defaultDiskBytes) : (least ?? 0));
  return { size: sectors(wanted), file: "root.qcow2", format: "qcow2" };
}

/** A disk has a whole number of them. */
const sectors = (bytes: number) => Math.ceil(bytes / 512) * 512;

interface Furnishing {
  readonly body: CreateMachineBody;
  readonly root: Omit<RootDisk, "base">;
  readonly base: HeldBase | undefined;
  readonly taken: TakenDisk | undefined;
  readonly tpm: boolean;
  readonly firmware: MachineFirmware;
  readonly macs: readonly string[];
  readonly id: string;
  readonly name: string;
  readonly dataDir: string;
}

/** Makes the machine's files: disks, ISO, seed, UEFI variables, the TPM's directory. */
async function furnish(parts: MachineParts, ctx: OpContext, what: Furnishing): Promise<void> {
  const { disks } = parts;
  const { body, root, base, taken, dataDir } = what;
  const directory = disksDir(dataDir);
  const file = join(directory, root.file);
  await mkdir(directory, { mode: 0o700 });
  if (what.tpm) await mkdir(tpmDir(dataDir), { mode: 0o700 });
  if (what.firmware === "uefi") await makeUefiVariables(parts, ctx, join(directory, files.uefiVariables));
  if (body.iso !== undefined) await takeReadOnly(ctx, disks, body.iso, join(directory, isoFile));
  if (body.cloudInit !== undefined) {
    await writeFile(join(directory, files.seed), seedOf(what, body.cloudInit), { mode: 0o600 });
    // For a clone, which is told who it is by a seed of its own.
    await writeFile(join(dataDir, cloudInitFile), JSON.stringify(body.cloudInit), { mode: 0o600 });
  }
  if (base !== undefined) {
    const recordedPath = baseFromDisks(base.file);
    await disks.overlay(ctx, file, { backing: base.image, recordedPath, size: root.size });
  } else if (taken !== undefined) {
    await moveDisk(parts, ctx, taken, file, root.size);
  } else {
    await disks.create(ctx, file, { size: root.size });
  }
}

/** As the firmware's package has them; in a qcow2, so that snapshots can be made of them, too. */
export async function makeUefiVariables(parts: MachineParts, ctx: OpContext, target: string): Promise<void> {
  await using taken = await takeDisk(parts, ctx, uefiFiles().variables);
  await parts.disks.convert(ctx, { source: { file: taken.file, format: "raw" }, target, format: "qcow2" });
}

/** Its cards are found by their MAC addresses, and get theirs from their networks. */
export function seedOf({ id, name, macs }: Pick<Furnishing, "id" | "name" | "macs">, cloudInit: CloudInit): Buffer {
  const nics = macs.map((mac) => ({ mac }));
  return nocloudSeed({ instanceId: id, hostname: name, cloudInit, nics, date: new Date() });
}
