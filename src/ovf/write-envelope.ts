/** Writes an OVF description (DSP0243 1.1): what VirtualBox, VMware and others import. Pure. */
import { namespaces, osType, resourceType, vmdkFormat } from "./cim.ts";
import type { OvfDisk, OvfMachine, OvfNic } from "./ovf-machine.ts";
import { writeXml, xml, type XmlNode, type XmlTag } from "./xml-writer.ts";

const MiB = 1024 * 1024;

/** Every disk of `machine` has a file, whose size is known; CD drives are written as empty ones. */
export function writeEnvelope(machine: OvfMachine): string {
  const disks = machine.disks.map((disk, index) => ({ ...disk, id: `disk${index + 1}`, fileId: `file${index + 1}` }));
  const networks = [...new Set(machine.nics.map(({ network }) => network))];
  return writeXml(
    xml(
      "Envelope",
      {
        xmlns: namespaces.ovf,
        "xmlns:ovf": namespaces.ovf,
        "xmlns:rasd": namespaces.rasd,
        "xmlns:vssd": namespaces.vssd,
        "xmlns:vmw": namespaces.vmw,
        "xmlns:berth": namespaces.berth,
      },
      xml(
        "References",
        {},
        ...disks.flatMap(({ file, fileId }) =>
          file === undefined
            ? []
            : [xml("File", { "ovf:id": fileId, "ovf:href": file.href, "ovf:size": String(file.size ?? 0) })],
        ),
      ),
      xml(
        "DiskSection",
        {},
        xml("Info", {}, "Virtual disks"),
        ...disks.map(({ id, fileId, capacity }) =>
          xml("Disk", {
            "ovf:diskId": id,
            "ovf:fileRef": fileId,
            "ovf:capacity": String(capacity),
            "ovf:capacityAllocationUnits": "byte",
            "ovf:format": vmdkFormat,
          }),
        ),
      ),
      xml(
        "NetworkSection",
        {},
        xml("Info", {}, "Networks that the machine is on"),
        ...networks.map((name) => xml("Network", { "ovf:name": name }, xml("Description", {}, `The network ${name}`))),
      ),
      virtualSystem(machine, disks),
    ),
  );
}

function virtualSystem(machine: OvfMachine, disks: readonly (OvfDisk & { readonly id: string })[]): XmlTag {
  const { name, description, os, firmware } = machine;
  const words = { linux: "Linux, 64-bit", windows: "Windows, 64-bit", other: "Another system" }[os];
  return xml(
    "VirtualSystem",
    { "ovf:id": name },
    xml("Info", {}, "A machine"),
    xml("Name", {}, name),
    ...(description === ""
      ? []
      : [xml("AnnotationSection", {}, xml("Info", {}, "Notes"), xml("Annotation", {}, description))]),
    xml(
      "OperatingSystemSection",
      { "ovf:id": String(osType[os]) },
      xml("Info", {}, "The kind of operating system"),
      xml("Description", {}, words),
    ),
    xml(
      "VirtualHardwareSection",
      {},
      xml("Info", {}, "Virtual hardware"),
      xml(
        "System",
        {},
        xml("vssd:ElementName", {}, "Virtual Hardware Family"),
        xml("vssd:InstanceID", {}, "0"),
        xml("vssd:VirtualSystemIdentifier", {}, name),
        xml("vssd:VirtualSystemType", {}, "vmx-13"),
      ),
      ...items(machine, disks),
      ...(firmware === "uefi"
        ? [xml("vmw:Config", { "ovf:required": "false", "vmw:key": "firmware", "vmw:value": "efi" })]
        : []),
    ),
  );
}

function items(machine: OvfMachine, disks: readonly (OvfDisk & { readonly id: string })[]): readonly XmlTag[] {
  const { cpus, memory, tpm, nics, cdroms } = machine;
  let last = 0;
  const next = () => String(++last);
  const items = [
    item({
      AllocationUnits: "hertz * 10^6",
      Description: "Number of virtual processors",
      ElementName: `${cpus} virtual processor(s)`,
      InstanceID: next(),
      ResourceType: String(resourceType.processor),
      VirtualQuantity: String(cpus),
    }),
    // A TPM has no word in the standard: it stands with what every machine has.
    item(
      {
        AllocationUnits: "byte * 2^20",
        Description: "Memory",
        ElementName: `${Math.ceil(memory / MiB)} MiB of memory`,
        InstanceID: next(),
        ResourceType: String(resourceType.memory),
        VirtualQuantity: String(Math.ceil(memory / MiB)),
      },
      tpm ? { tpm: "true" } : {},
    ),
  ];
  const controller = next();
  items.push(
    item({
      Address: "0",
      Description: "SATA controller",
      ElementName: "SATA controller 0",
      InstanceID: controller,
      ResourceSubType: "AHCI",
      ResourceType: String(resourceType.storage),
    }),
  );
  let position = 0;
  for (const [index, disk] of disks.entries()) {
    items.push(
      item(
        {
          AddressOnParent: String(position++),
          ElementName: `Disk ${index + 1}`,
          HostResource: `ovf:/disk/${disk.id}`,
          InstanceID: next(),
          Parent: controller,
          ResourceType: String(resourceType.disk),
        },
        { bus: disk.bus },
      ),
    );
  }
  for (const index of cdroms.keys()) {
    items.push(
      item({
        AddressOnParent: String(position++),
        AutomaticAllocation: "false",
        ElementName: `CD drive ${index + 1}`,
        InstanceID: next(),
        Parent: controller,
        ResourceType: String(resourceType.cd),
      }),
    );
  }
  for (const [index, nic] of nics.entries()) items.push(networkCard(nic, index, next()));
  return items;
}

function networkCard({ model, network, mac }: OvfNic, index: number, id: string): XmlTag {
  return item(
    {
      ...(mac === "" ? {} : { Address: mac }),
      AddressOnParent: String(index + 7),
      AutomaticAllocation: "true",
      Connection: network,
      ElementName: `Network card ${index + 1}`,
      InstanceID: id,
      // The one that every program and every system knows.
      ResourceSubType: model === "e1000e" ? "E1000e" : "E1000",
      ResourceType: String(resourceType.ethernet),
    },
    { model },
  );
}

/** The properties must come in this order: that of the alphabet, as the standard's schema has it. `own` is for Berth. */
function item(properties: Readonly<Record<string, string>>, own: Readonly<Record<string, string>> = {}): XmlTag {
  const children: XmlNode[] = Object.entries(properties)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => xml(`rasd:${name}`, {}, value));
  if (Object.keys(own).length > 0) children.push(xml("berth:Device", own));
  return xml("Item", {}, ...children);
}
