/** The hardware of an OVF machine: its Items (CIM_ResourceAllocationSettingData), as devices that exist here. Pure. */
import { namespaces, resourceType, unitBytes } from "./cim.ts";
import { ovfErrors } from "./errors.ts";
import type { DiskBus, NicModel } from "../schema/machine.ts";
import type { OvfCdrom, OvfDisk, OvfFile, OvfMachine, OvfNic } from "./ovf-machine.ts";
import { attribute, type XmlElement } from "./xml-reader.ts";

/** An entry of the DiskSection. */
export interface DiskEntry {
  readonly file: OvfFile | undefined;
  /** Bytes, 0 for unknown. */
  readonly capacity: number;
}

export interface HardwareRequest {
  readonly hardware: XmlElement;
  readonly files: ReadonlyMap<string, OvfFile>;
  readonly disks: ReadonlyMap<string, DiskEntry>;
  /** Id of the configuration that applies; "" for none. */
  readonly configuration: string;
}

const MiB = 1024 * 1024;
const limits = { cpus: 1024, memory: 64 * 1024 ** 4, devices: 64 };

interface Item {
  readonly id: string;
  readonly type: number;
  readonly subtype: string;
  readonly quantity: string;
  readonly unit: string;
  readonly address: string;
  readonly parent: string;
  /** Where it is on its controller. */
  readonly position: number;
  readonly hostResource: string;
  readonly connection: string;
  readonly name: string;
  /** What Berth wrote beside the standard's words. */
  readonly own: ReadonlyMap<string, string>;
}

/** Everything of a machine that is in its hardware section, and what was left out of it. `OVF_INVALID`. */
export function readHardware(request: HardwareRequest): {
  readonly machine: Pick<OvfMachine, "cpus" | "memory" | "tpm" | "disks" | "nics" | "cdroms">;
  readonly warnings: readonly string[];
} {
  const warnings: string[] = [];
  const items = readItems(request);
  const byId = new Map(items.map((item) => [item.id, item]));
  const disks: OvfDisk[] = [];
  const cdroms: OvfCdrom[] = [];
  const nics: OvfNic[] = [];
  let cpus = 1;
  let memory = 512 * MiB;
  for (const item of inBootOrder(items, byId)) {
    switch (item.type) {
      case resourceType.processor:
        cpus = quantity(item, limits.cpus);
        break;
      case resourceType.memory:
        memory = quantity(item, limits.memory, unitBytes(item.unit === "" ? "byte * 2^20" : item.unit));
        break;
      case resourceType.disk:
        disks.push(disk(item, byId.get(item.parent), request, warnings));
        break;
      case resourceType.cd:
      case resourceType.dvd:
        cdroms.push({ file: item.hostResource === "" ? undefined : resource(item, request).file });
        break;
      case resourceType.ethernet:
        nics.push(nic(item, warnings));
        break;
      case resourceType.ide:
      case resourceType.scsi:
      case resourceType.storage:
        break;
      default:
        if (!harmless.has(item.type)) warnings.push(`left out: ${item.name || `a device of type ${item.type}`}`);
    }
  }
  if (disks.length + cdroms.length + nics.length > limits.devices) throw invalid(`more than ${limits.devices} devices`);
  const tpm = items.some((item) => item.own.get("tpm") === "true" || /^(vmware\.vtpm|tpm)/i.test(item.subtype));
  return { machine: { cpus, memory, tpm, disks, nics, cdroms }, warnings };
}

/** What each machine has here anyway, or nobody misses: USB, graphics, sound, floppy drives, serial ports, input devices. */
const harmless: ReadonlySet<number> = new Set([1, 13, 14, 21, 22, 23, 24, 35]);

function readItems({ hardware, configuration }: HardwareRequest): readonly Item[] {
  const names = new Set(["Item", "StorageItem", "EthernetPortItem"]);
  const items = hardware.children
    .filter(({ name }) => names.has(name))
    .filter((element) => applies(element, configuration));
  return items.map((element) => {
    const text = (name: string) => element.children.find((child) => child.name === name)?.text.trim() ?? "";
    const own = element.children.find(({ namespace }) => namespace === namespaces.berth);
    return {
      id: text("InstanceID") || text("InstanceId"),
      type: Number(text("ResourceType")),
      subtype: text("ResourceSubType"),
      quantity: text("VirtualQuantity"),
      unit: text("AllocationUnits"),
      address: text("Address"),
      parent: text("Parent"),
      position: Number(text("AddressOnParent")) || 0,
      hostResource: text("HostResource"),
      connection: text("Connection"),
      name: text("ElementName") || text("Caption"),
      own: own?.attributes ?? new Map(),
    };
  });
}

/** Bounds of what may be chosen are no devices, and those of other configurations are not there. */
function applies(element: XmlElement, configuration: string): boolean {
  const of = (name: string) =>
    attribute(element, namespaces.ovf, name) ??
    attribute(element, namespaces.ovf2, name) ??
    attribute(element, "", name);
  const chosen = of("configuration");
  return of("bound") === undefined && (chosen === undefined || chosen.split(/\s+/).includes(configuration));
}

/** Disks and drives by where they are on their controllers: the first one is what it boots from. */
function inBootOrder(items: readonly Item[], byId: ReadonlyMap<string, Item>): readonly Item[] {
  const rank = (item: Item) => items.indexOf(byId.get(item.parent) ?? item);
  return [...items].sort((a, b) => (a.type === b.type ? rank(a) - rank(b) || a.position - b.position : 0));
}

function disk(item: Item, controller: Item | undefined, request: HardwareRequest, warnings: string[]): OvfDisk {
  const { file, capacity } = resource(item, request);
  const own = item.own.get("bus");
  if (own === "virtio" || own === "scsi" || own === "sata") return { bus: own, capacity, file };
  return { bus: busOf(item, controller, warnings), capacity, file };
}

/** Every system has a driver for SATA; for the one SCSI controller there is here, few that come from elsewhere do. */
function busOf(item: Item, controller: Item | undefined, warnings: string[]): DiskBus {
  const subtype = controller?.subtype.toLowerCase() ?? "";
  if (/^virtio-?scsi/.test(subtype)) return "scsi";
  if (controller === undefined || controller.type === resourceType.storage) return "sata";
  const name = item.name === "" ? "a disk" : item.name;
  const kind = controller.type === resourceType.ide ? "IDE" : `SCSI (${controller.subtype || "of no type"})`;
  warnings.push(`${name} was on ${kind} and is on SATA here`);
  return "sata";
}

/** "ovf:/disk/ID", "/disk/ID", "ovf:/file/ID". */
function resource(item: Item, { disks, files }: HardwareRequest): DiskEntry {
  const match = /^(?:ovf:)?\/(disk|file)\/(.+)$/.exec(item.hostResource);
  const id = match?.[2] ?? "";
  const file = match?.[1] === "file" ? files.get(id) : undefined;
  const entry = match?.[1] === "disk" ? disks.get(id) : file === undefined ? undefined : { file, capacity: 0 };
  if (entry === undefined) {
    throw invalid(`${item.name || "a disk"} is ${JSON.stringify(item.hostResource)}, which it does not describe`);
  }
  return entry;
}

function nic(item: Item, warnings: string[]): OvfNic {
  const own = item.own.get("model");
  const isKnown = own === "virtio" || own === "e1000e" || own === "e1000" || own === "rtl8139";
  const model = isKnown ? own : nicModel(item, warnings);
  const hexadecimal = item.address.replaceAll(/[:.-]/g, "").toLowerCase();
  const isMac = /^[0-9a-f]{12}$/.test(hexadecimal) && (Number.parseInt(hexadecimal.slice(0, 2), 16) & 1) === 0;
  const mac = isMac ? (hexadecimal.match(/../g) ?? []).join(":") : "";
  return { model, network: item.connection, mac };
}

function nicModel({ subtype, name }: Item, warnings: string[]): NicModel {
  const known = subtype.toLowerCase();
  if (known.startsWith("virtio")) return "virtio";
  if (known === "e1000e") return "e1000e";
  if (known === "e1000" || known === "") return "e1000";
  // vmxnet3 and the AMD cards have no equal here.
  warnings.push(`${name || "a network card"} was a ${subtype} and is an e1000 here`);
  return "e1000";
}

function quantity(item: Item, max: number, unit: number | undefined = 1): number {
  const value = Number(item.quantity) * unit;
  if (!/^\d{1,15}$/.test(item.quantity) || !Number.isSafeInteger(value) || value < 1 || value > max) {
    throw invalid(`${item.name || `a resource of type ${item.type}`}: ${JSON.stringify(item.quantity.slice(0, 20))}`);
  }
  return value;
}

function invalid(reason: string): Error {
  return ovfErrors.OVF_INVALID({ reason });
}
