/** Machines like another one: with whole copies of its disks, or on disks that both share, read-only, until they change. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Check } from "typebox/value";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { chmod, link, mkdir, rename, rm, writeFile } from "../../host/files.ts";
import type { InstanceRequest } from "../../instances/instance-service.ts";
import { baseFromDisks, basesDir, disksDir, files, tpmDir } from "../../instances/machine/layout.ts";
import { CloudInit } from "../../schema/cloud-init.ts";
import type { InstanceRecord } from "../../schema/instance.ts";
import type { MachineDisk, MachineSpec } from "../../schema/machine.ts";
import type { CloneMachineBody } from "../../schema/machine-live-api.ts";
import { cloudInitFile, seedOf } from "../create.ts";
import { newMac } from "../hardware.ts";
import { type MachineParts, type MachineRecord, resolveMachine } from "../parts.ts";
import { changeMachine, type Changing } from "./changing.ts";
import { liveErrors } from "./errors.ts";
import { isRunning } from "./monitor.ts";
import { requireNotSaved } from "./save.ts";
import { readBook } from "./snapshot-book.ts";
import { baseImage, copyWholeDisks } from "./whole-disks.ts";

interface Place {
  readonly id: string;
  readonly name: string;
  readonly dataDir: string;
}

/** A name, MAC addresses and an identity of its own; inside, what cloud-init gives it. Nothing of it stays when it fails. */
export async function cloneMachine(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  { name, linked = false, start = false }: CloneMachineBody,
): Promise<InstanceRecord> {
  const source = resolveMachine(parts, nameOrId);
  const { id } = linked ? await cloneLinked(parts, ctx, source.id, name) : await cloneWhole(parts, ctx, source, name);
  if (start) await parts.instances.start(ctx, id);
  return parts.instances.resolve(id);
}

async function cloneWhole(
  parts: MachineParts,
  ctx: OpContext,
  source: MachineRecord,
  name: string,
): Promise<InstanceRecord> {
  const from = join(parts.dataRoot, "instances", source.id);
  requireNotSaved(source.name, from);
  await using copies = await copyWholeDisks(parts, ctx, source, from);
  const disks = source.spec.machine.disks.map(
    (disk): MachineDisk => ({
      ...disk,
      file: `${disk.name}.qcow2`,
      format: "qcow2",
      base: "",
    }),
  );
  const request = requestFor(source, name, { ...source.spec.machine, disks });
  const { record } = await parts.instances.create(ctx, {
    ...request,
    furnish: async (_, place) => {
      await furnish(source, from, place, request);
      for (const { name: disk, file } of copies.disks) {
        const target = disk === "uefi-vars" ? files.uefiVariables : `${disk}.qcow2`;
        await rename(file, join(disksDir(place.dataDir), target));
      }
    },
  });
  return record;
}

/** Of a machine that is off: what it has now becomes a base of both. */
async function cloneLinked(parts: MachineParts, ctx: OpContext, id: string, name: string): Promise<InstanceRecord> {
  return await changeMachine(parts, ctx, id, async (at) => {
    const { record, dataDir, held } = at;
    if (isRunning(record))
      throw liveErrors.MACHINE_RUNS({ machine: record.name, what: "a linked clone needs its disks to stand still" });
    const { snapshots } = await readBook(dataDir);
    const [first] = at.machine.disks;
    if (snapshots.length > 0 && first !== undefined) {
      throw liveErrors.DISK_LINKED_SNAPSHOTS({ machine: record.name, disk: first.name });
    }
    for (const disk of at.machine.disks) if (disk.base === "") await makeBase(parts, ctx, at, disk.name);
    const source = { ...record, ...resolveMachine(parts, held.record.id) };
    const { machine } = source.spec;
    const request = requestFor(source, name, machine);
    const { record: clone } = await parts.instances.create(ctx, {
      ...request,
      furnish: async (own, place) => {
        await furnish(source, dataDir, place, request);
        for (const { file } of machine.disks) {
          // What this machine has changed since; what is below it is named the same way from there.
          await parts.disks.take(own, join(disksDir(dataDir), file), join(disksDir(place.dataDir), file));
        }
        if (machine.firmware !== "uefi") return;
        const variables = files.uefiVariables;
        await parts.disks.take(own, join(disksDir(dataDir), variables), join(disksDir(place.dataDir), variables));
      },
    });
    return clone;
  });
}

/**
 * Makes a disk's file a base, read-only, and the disk an empty overlay of it. The record says so first: killed before the overlay is in
 * its place, the disk is still the file that it was, by two names.
 */
async function makeBase(parts: MachineParts, ctx: OpContext, { held, dataDir }: Changing, name: string): Promise<void> {
  const machine = held.record.spec.machine;
  const disk = machine?.disks.find((each) => each.name === name);
  if (machine === undefined || disk === undefined) return;
  const base = `${randomUUID()}.${disk.format}`;
  const image = baseImage(parts.dataRoot, base);
  const file = join(disksDir(dataDir), disk.file);
  const overlay = `${disk.name}.qcow2`;
  const draft = join(disksDir(dataDir), `.copy-${randomUUID()}.qcow2`);
  using _base = parts.bases.hold(base);
  await using reverter = new Reverter(ctx);
  await mkdir(basesDir(parts.dataRoot), { recursive: true, mode: 0o700 });
  await link(file, image.file);
  reverter.add("remove the base", () => rm(image.file, { force: true }));
  await parts.disks.overlay(ctx, draft, { backing: image, recordedPath: baseFromDisks(base), size: disk.size });
  reverter.add("remove the overlay", () => rm(draft, { force: true }));
  const disks = machine.disks.map((each) =>
    each.name === name ? ({ ...each, base, file: overlay, format: "qcow2" } as const) : each,
  );
  held.update((spec) => ({ ...spec, machine: { ...machine, disks } }));
  reverter.add("record", () => void held.update((spec) => ({ ...spec, machine })));
  await rename(draft, join(disksDir(dataDir), overlay));
  reverter.commit();
  if (overlay !== disk.file) await rm(file, { force: true });
  await chmod(image.file, 0o400);
}

/** As the source, with a name, a firmware's id and MAC addresses of its own; addresses are the networks' to give. */
function requestFor(source: MachineRecord, name: string, machine: MachineSpec): InstanceRequest {
  const { spec } = source;
  // Fixed addresses and names are one machine's.
  const endpoints = Object.fromEntries(
    Object.keys(spec.network.endpoints).map((network) => [network, { aliases: [], macAddress: newMac() }]),
  );
  return {
    ...spec,
    name,
    hostname: name,
    rootfsChainId: "",
    machine: { ...machine, uuid: randomUUID() },
    // A host's port is one machine's.
    network: { ...spec.network, endpoints, ports: [] },
  };
}

/** All but its disks. A TPM's secrets are not copied: the clone's is new. */
async function furnish(source: MachineRecord, from: string, place: Place, request: InstanceRequest): Promise<void> {
  const { machine } = source.spec;
  const directory = disksDir(place.dataDir);
  await mkdir(directory, { mode: 0o700 });
  if (machine.tpm) await mkdir(tpmDir(place.dataDir), { mode: 0o700 });
  for (const { file } of machine.cdroms) if (file !== "") await link(join(disksDir(from), file), join(directory, file));
  if (machine.cloudInit)
    await writeFile(join(directory, files.seed), await seedFor(from, place, request), { mode: 0o600 });
}

/** Of its own, by which cloud-init takes the clone for a new machine. */
async function seedFor(from: string, place: Place, { network }: InstanceRequest): Promise<Buffer> {
  const asked = join(from, cloudInitFile);
  if (!existsSync(asked)) return await readFile(join(disksDir(from), files.seed));
  const cloudInit: unknown = JSON.parse(await readFile(asked, "utf8"));
  if (!Check(CloudInit, cloudInit)) return await readFile(join(disksDir(from), files.seed));
  await writeFile(join(place.dataDir, cloudInitFile), JSON.stringify(cloudInit), { mode: 0o600 });
  const macs = Object.values(network.endpoints).flatMap(({ macAddress }) => macAddress ?? []);
  return seedOf({ ...place, macs }, cloudInit);
}
