import { describe, expect, it } from "vitest";
import type { OvfMachine } from "./ovf-machine.ts";
import { readEnvelope } from "./read-envelope.ts";
import { writeEnvelope } from "./write-envelope.ts";
import { unitBytes } from "./cim.ts";

const MiB = 1024 * 1024;
const file = (href: string) => ({ href, size: 1000, compression: "identity" as const, chunkSize: undefined });
const machine: OvfMachine = {
  name: "web <1>",
  description: "notes & more",
  cpus: 2,
  memory: 2048 * MiB,
  os: "linux",
  firmware: "uefi",
  tpm: true,
  disks: [
    { bus: "virtio", capacity: 20 * 1024 * MiB, file: file("web-disk1.vmdk") },
    { bus: "scsi", capacity: 512, file: file("web-disk2.vmdk") },
  ],
  nics: [
    { model: "virtio", network: "default", mac: "52:54:00:00:00:01" },
    { model: "e1000e", network: "back", mac: "" },
  ],
  cdroms: [{ file: undefined }],
};

/** An envelope in the manner of other programs, of which a test changes one place. */
function foreign(
  hardware: string,
  more: { readonly disks?: string; readonly files?: string; readonly system?: string; readonly after?: string } = {},
): Buffer {
  return Buffer.from(`<?xml version="1.0"?>
<Envelope ovf:version="1.0" xml:lang="en-US" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vbox="http://www.virtualbox.org/ovf/machine">
  <References>${more.files ?? '<File ovf:id="file1" ovf:href="appliance-disk001.vmdk"/>'}</References>
  <DiskSection><Info>disks</Info>${
    more.disks ??
    '<Disk ovf:capacity="8589934592" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>'
  }</DiskSection>
  <VirtualSystem ovf:id="appliance"><Info>a machine</Info>
    ${more.system ?? '<OperatingSystemSection ovf:id="96"><Info>os</Info><Description>Debian_64</Description></OperatingSystemSection>'}
    <VirtualHardwareSection><Info>hardware</Info>${hardware}</VirtualHardwareSection>
    ${more.after ?? ""}
  </VirtualSystem>
</Envelope>`);
}

function item(properties: Record<string, string | number>, attributes = ""): string {
  const children = Object.entries(properties).map(([name, value]) => `<rasd:${name}>${value}</rasd:${name}>`);
  return `<Item${attributes}>${children.join("")}</Item>`;
}

const ide = item({
  Address: 0,
  ElementName: "ideController0",
  InstanceID: 3,
  ResourceSubType: "PIIX4",
  ResourceType: 5,
});
const disk = item({
  AddressOnParent: 0,
  ElementName: "disk1",
  HostResource: "/disk/vmdisk1",
  InstanceID: 5,
  Parent: 3,
  ResourceType: 17,
});

describe("an envelope", () => {
  it("is read back as what was written", () => {
    expect(readEnvelope(Buffer.from(writeEnvelope(machine)))).toEqual({
      machine,
      files: machine.disks.map((written) => written.file),
      warnings: [],
    });
  });

  it("of VirtualBox: IDE, MegaBytes, a card by name, EFI in its own section", () => {
    const hardware = [
      item({ Caption: "1 virtual CPU", InstanceID: 1, ResourceType: 3, VirtualQuantity: 4 }),
      item({
        AllocationUnits: "MegaBytes",
        Caption: "1024 MB of memory",
        InstanceID: 2,
        ResourceType: 4,
        VirtualQuantity: 1024,
      }),
      ide,
      item({ Address: 0, InstanceID: 4, ResourceType: 23 }),
      disk,
      item({
        AddressOnParent: 0,
        AutomaticAllocation: "true",
        ElementName: "cdrom1",
        InstanceID: 6,
        Parent: 3,
        ResourceType: 15,
      }),
      item({
        Connection: "NAT",
        ElementName: "Ethernet adapter on 'NAT'",
        InstanceID: 7,
        ResourceSubType: "PCNet32",
        ResourceType: 10,
      }),
    ].join("");
    const after = '<vbox:Machine ovf:required="false"><Hardware><Firmware type="EFI"/></Hardware></vbox:Machine>';
    const found = readEnvelope(foreign(hardware, { after }));
    expect(found.machine).toMatchObject({
      name: "appliance",
      os: "linux",
      cpus: 4,
      memory: 1024 * MiB,
      firmware: "uefi",
      tpm: false,
      disks: [{ bus: "sata", capacity: 8 * 1024 * MiB, file: { href: "appliance-disk001.vmdk" } }],
      cdroms: [{ file: undefined }],
      nics: [{ model: "e1000", network: "NAT", mac: "" }],
    });
    expect(found.warnings).toEqual([
      "disk1 was on IDE and is on SATA here",
      "Ethernet adapter on 'NAT' was a PCNet32 and is an e1000 here",
    ]);
  });

  it("of VMware: units by powers, pvscsi, vmxnet3, a MAC, efi, Windows", () => {
    const hardware = [
      item({ AllocationUnits: "hertz * 10^6", InstanceID: 1, ResourceType: 3, VirtualQuantity: 2 }),
      item({ AllocationUnits: "byte * 2^20", InstanceID: 2, ResourceType: 4, VirtualQuantity: 4096 }),
      item({
        Address: 0,
        ElementName: "SCSI Controller 0",
        InstanceID: 3,
        ResourceSubType: "VirtualSCSI",
        ResourceType: 6,
      }),
      item({
        AddressOnParent: 1,
        ElementName: "Hard Disk 2",
        HostResource: "ovf:/disk/b",
        InstanceID: 8,
        Parent: 3,
        ResourceType: 17,
      }),
      item({
        AddressOnParent: 0,
        ElementName: "Hard Disk 1",
        HostResource: "ovf:/disk/a",
        InstanceID: 9,
        Parent: 3,
        ResourceType: 17,
      }),
      item({
        Address: "00-50-56-AA-BB-CC",
        Connection: "VM Network",
        InstanceID: 10,
        ResourceSubType: "VmxNet3",
        ResourceType: 10,
      }),
      item(
        { ElementName: "VMCI device", InstanceID: 11, ResourceSubType: "vmware.vmci", ResourceType: 1 },
        ' ovf:required="false"',
      ),
      '<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>',
    ].join("");
    const found = readEnvelope(
      foreign(hardware, {
        disks:
          '<Disk ovf:capacity="10" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="a" ovf:fileRef="file1"/><Disk ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="b"/>',
        system:
          '<OperatingSystemSection ovf:id="1" vmw:osType="windows2019srv_64Guest"><Info>os</Info></OperatingSystemSection>',
      }),
    );
    expect(found.machine).toMatchObject({
      os: "windows",
      firmware: "uefi",
      memory: 4096 * MiB,
      disks: [
        { capacity: 10 * 1024 * MiB, file: { href: "appliance-disk001.vmdk" } },
        { capacity: 1024 * MiB, file: undefined },
      ],
      nics: [{ model: "e1000", mac: "00:50:56:aa:bb:cc" }],
    });
  });

  it("takes the configuration that stands for itself, and no bounds", () => {
    const hardware = [
      item({ ElementName: "small", InstanceID: 1, ResourceType: 3, VirtualQuantity: 2 }, ' ovf:configuration="small"'),
      item({ InstanceID: 1, ResourceType: 3, VirtualQuantity: 8 }, ' ovf:configuration="large"'),
      item({ InstanceID: 1, ResourceType: 3, VirtualQuantity: 16 }, ' ovf:bound="max"'),
    ].join("");
    const options =
      '</References><DeploymentOptionSection><Info>sizes</Info><Configuration ovf:id="large"/><Configuration ovf:id="small" ovf:default="true"/></DeploymentOptionSection><References>';
    expect(
      readEnvelope(foreign(hardware, { files: `<File ovf:id="file1" ovf:href="a.vmdk"/>${options}` })).machine.cpus,
    ).toBe(2);
  });

  it.each([
    ["a path that leads out", { files: '<File ovf:id="file1" ovf:href="../../etc/shadow"/>' }, "OVF_UNSUPPORTED"],
    ["an address", { files: '<File ovf:id="file1" ovf:href="http://example.com/a.vmdk"/>' }, "OVF_UNSUPPORTED"],
    ["a hidden file", { files: '<File ovf:id="file1" ovf:href=".ssh"/>' }, "OVF_UNSUPPORTED"],
    ["a file that is not listed", { files: "" }, "OVF_INVALID"],
    ["an id twice", { files: '<File ovf:id="file1" ovf:href="a"/><File ovf:id="file1" ovf:href="b"/>' }, "OVF_INVALID"],
    [
      "a difference to another disk",
      { disks: '<Disk ovf:diskId="vmdisk1" ovf:parentRef="x" ovf:capacity="1"/>' },
      "OVF_UNSUPPORTED",
    ],
    ["a capacity that is no number", { disks: '<Disk ovf:diskId="vmdisk1" ovf:capacity="-1"/>' }, "OVF_INVALID"],
    [
      "a capacity beyond numbers",
      {
        disks: '<Disk ovf:diskId="vmdisk1" ovf:capacity="9007199254740991" ovf:capacityAllocationUnits="byte * 2^40"/>',
      },
      "OVF_INVALID",
    ],
    ["two machines", { after: '</VirtualSystem><VirtualSystem ovf:id="b"><Info>b</Info>' }, "OVF_UNSUPPORTED"],
    [
      "an unknown compression",
      { files: '<File ovf:id="file1" ovf:href="a" ovf:compression="bzip2"/>' },
      "OVF_UNSUPPORTED",
    ],
  ])("refuses %s", (_, more, code) => {
    expect(() => readEnvelope(foreign(ide + disk, more))).toThrow(expect.objectContaining({ code }));
  });

  it.each([
    ["a disk that is not described", item({ HostResource: "/disk/other", InstanceID: 5, ResourceType: 17 })],
    ["no processors", item({ InstanceID: 1, ResourceType: 3, VirtualQuantity: 0 })],
    [
      "absurd memory",
      item({ InstanceID: 2, ResourceType: 4, AllocationUnits: "byte * 2^40", VirtualQuantity: 100000 }),
    ],
    ["a thousand disks", Array.from({ length: 1000 }, () => disk).join("")],
  ])("refuses %s", (_, hardware) => {
    expect(() => readEnvelope(foreign(hardware))).toThrow(expect.objectContaining({ code: "OVF_INVALID" }));
  });
});

it.each([
  ["byte", 1],
  ["byte * 2^30", 2 ** 30],
  ["byte*10^9", 10 ** 9],
  ["MegaBytes", 2 ** 20],
  ["GigaBytes", 2 ** 30],
  ["MB", 2 ** 20],
  ["KiB", 1024],
  ["hertz * 10^6", undefined],
  ["", undefined],
])("knows the unit %j", (unit, bytes) => {
  expect(unitBytes(unit)).toBe(bytes);
});
