/** From what is asked for to the specification of an instance that is a machine. Pure, but for new names. */
import { randomBytes, randomUUID } from "node:crypto";
import { bareSpec } from "../instances/bare-spec.ts";
import type { InstanceRequest } from "../instances/instance-service.ts";
import type { MachineDisk, MachineNic, MachineSpec } from "../schema/machine.ts";
import type { CreateMachineBody, MachineNicRequest } from "../schema/machine-api.ts";
import type { EndpointSpec } from "../schema/network.ts";
import { unlimited } from "../schema/resources.ts";
import { type Preset, presetOf } from "./presets.ts";

export interface HostFacts {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly uefi: boolean;
  readonly tpm: boolean;
}

const MiB = 1024 * 1024;
/** A guest's operating system takes its time to power off. */
export const defaultStopSeconds = 90;
/** Its networks' default: the engine's own. */
const defaultNics: readonly MachineNicRequest[] = [{ network: "bridge" }];

/** The root disk, as it will be. */
export type RootDisk = Pick<MachineDisk, "size" | "file" | "format" | "base">;

export interface Sources {
  /** What it is made from, for people. */
  readonly source: string;
  readonly root: RootDisk | undefined;
  /** Name of the ISO among the disks, and where it came from. */
  readonly iso: { readonly file: string; readonly source: string } | undefined;
}

export function machinePreset(body: CreateMachineBody, host: HostFacts): Preset {
  return presetOf(body.os ?? "linux", host);
}

export function machineRequest(body: CreateMachineBody, sources: Sources, host: HostFacts): InstanceRequest {
  const preset = machinePreset(body, host);
  const cpus = body.cpus ?? preset.cpus;
  // In whole MiB, as QEMU counts.
  const memory = Math.max(1, Math.floor((body.memory ?? preset.memory) / MiB)) * MiB;
  const nics = body.nics ?? defaultNics;
  const [first] = nics;
  return {
    ...bareSpec,
    isolation: "vm",
    machine: hardwareOf(body, sources, preset, { ...host, assignedCpus: cpus, memory }),
    name: body.name,
    image: sources.source,
    rootfsChainId: "",
    process: { ...bareSpec.process, tty: true, openStdin: true },
    hostname: body.name,
    labels: body.labels ?? {},
    resources: { ...unlimited, memory, memorySwap: -1, nanoCpus: cpus * 1e9 },
    network: {
      ...bareSpec.network,
      mode: first === undefined ? "none" : first.network,
      endpoints: Object.fromEntries(nics.map((nic) => [nic.network, endpointOf(nic)])),
      ports: [...(body.ports ?? [])],
    },
    restartPolicy: { name: body.restart ?? "no", maximumRetryCount: 0 },
    stopTimeout: defaultStopSeconds,
    log: { driver: "json-file", options: {} },
  };
}

function hardwareOf(
  body: CreateMachineBody,
  { root, iso }: Sources,
  preset: Preset,
  host: HostFacts & { readonly assignedCpus: number; readonly memory: number },
): MachineSpec {
  const disks: readonly MachineDisk[] =
    root === undefined ? [] : [{ ...root, name: "root", bus: body.diskBus ?? preset.disk, readOnly: false }];
  const cdroms = iso === undefined ? [] : [{ ...iso, name: "cd0", bus: preset.cdrom }];
  const nics = (body.nics ?? defaultNics).map(
    ({ network, model }, nth): MachineNic => ({ name: `net${nth}`, network, model: model ?? preset.nic }),
  );
  return {
    os: body.os ?? "linux",
    firmware: body.firmware ?? preset.firmware,
    tpm: body.tpm ?? preset.tpm,
    uuid: randomUUID(),
    maxCpus: Math.max(host.assignedCpus, host.cpus),
    maxMemory: Math.max(host.memory, Math.min(host.memory * 4, Math.floor(host.memoryBytes / MiB) * MiB)),
    disks: [...disks],
    cdroms,
    nics,
    // The disk first: once an installer has written to it, its ISO is passed over.
    boot: [...disks, ...cdroms].map(({ name }) => name),
    cloudInit: body.cloudInit !== undefined,
    vga: body.vga ?? "std",
  };
}

export function endpointOf({ mac, address }: MachineNicRequest): EndpointSpec {
  return {
    aliases: [],
    // Stays with the machine: its operating system knows its cards, and its network its address, by it.
    macAddress: mac?.toLowerCase() ?? newMac(),
    ...(address === undefined ? {} : { ipv4Address: address }),
  };
}

/** Of QEMU's range. */
export function newMac(): string {
  return ["52", "54", "00", ...Array.from(randomBytes(3), (byte) => byte.toString(16).padStart(2, "0"))].join(":");
}
