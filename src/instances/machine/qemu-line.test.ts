import { describe, expect, it } from "vitest";
import type { MachineSpec } from "../../schema/machine.ts";
import { hotPlugPorts, type LineContext, qemuLine } from "./qemu-line.ts";

const spec: MachineSpec = {
  os: "linux",
  firmware: "bios",
  tpm: false,
  uuid: "00000000-0000-4000-8000-000000000001",
  maxCpus: 4,
  maxMemory: 2 * 1024 ** 3,
  disks: [
    {
      name: "root",
      bus: "virtio",
      size: 1024,
      file: "root.qcow2",
      format: "qcow2",
      base: "abc.qcow2",
      readOnly: false,
    },
    { name: "data", bus: "scsi", size: 1024, file: "data.raw", format: "raw", base: "", readOnly: false },
    { name: "old", bus: "sata", size: 1024, file: "old.qcow2", format: "qcow2", base: "", readOnly: true },
  ],
  cdroms: [
    { name: "cd0", bus: "sata", file: "cd0.iso", source: "/x.iso" },
    { name: "cd1", bus: "scsi", file: "", source: "" },
  ],
  nics: [
    { name: "net0", network: "bridge", model: "virtio" },
    { name: "net1", network: "lan", model: "e1000" },
  ],
  boot: ["cd0", "root", "net1"],
  cloudInit: true,
  vga: "std",
};

const context: LineContext = {
  id: "1d",
  name: "web,1",
  program: "qemu-system-x86_64",
  acceleration: "tcg",
  memory: 512 * 1024 ** 2,
  cpus: 2,
  macs: { bridge: "52:54:00:00:00:01", lan: "52:54:00:00:00:02" },
  uefiCode: "",
};

/** Values of each of QEMU's options. */
function optionsOf(words: readonly string[]): (flag: string) => readonly string[] {
  return (flag) => words.flatMap((word, at) => (word === flag ? [words[at + 1] ?? ""] : []));
}
const line = (change: Partial<MachineSpec> = {}, where: Partial<LineContext> = {}) =>
  optionsOf(qemuLine({ ...spec, ...change }, { ...context, ...where }));
const devices = (change: Partial<MachineSpec> = {}) => line(change)("-device");

describe("qemuLine", () => {
  it("shuts QEMU in, and keeps its reboots inside", () => {
    const words = qemuLine(spec, context);
    expect(words[0]).toBe("qemu-system-x86_64");
    expect(words).toContain("-nodefaults");
    expect(words).not.toContain("-no-reboot");
    expect(line()("-sandbox")).toEqual(["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    expect(line()("-name")).toEqual(["guest=web,,1"]);
  });

  it("has each disk on its bus, in the order of the specification, and the seed at the end", () => {
    expect(devices().filter((word) => /-blk-|scsi-hd|ide-hd/.test(word))).toEqual([
      "virtio-blk-pci,bus=port-root,drive=root,id=root,serial=root,bootindex=2",
      "scsi-hd,bus=scsi.0,drive=data,id=data,serial=data",
      "ide-hd,bus=ide.0,drive=old,id=old,serial=old",
      "virtio-blk-pci,bus=port-seed,drive=seed,id=seed,serial=seed",
    ]);
    expect(line()("-blockdev").filter((word) => word.includes("root") || word.includes("seed"))).toEqual([
      "driver=file,node-name=root-file,filename=/berth/instances/1d/disks/root.qcow2,read-only=off",
      "driver=qcow2,node-name=root,file=root-file,read-only=off,discard=unmap",
      "driver=file,node-name=seed-file,filename=/berth/instances/1d/disks/seed.img,read-only=on",
      "driver=raw,node-name=seed,file=seed-file,read-only=on,discard=unmap",
    ]);
  });

  it("has drives with and without a disc", () => {
    expect(devices().filter((word) => word.includes("-cd,"))).toEqual([
      "ide-cd,bus=ide.1,id=cd0,drive=cd0,bootindex=1",
      "scsi-cd,bus=scsi.0,id=cd1",
    ]);
  });

  it("joins cards with taps in their order; a ROM is only for what boots", () => {
    expect(line()("-netdev")).toEqual(["tap,id=net0,fd={tap0}", "tap,id=net1,fd={tap1}"]);
    expect(devices().filter((word) => word.includes("netdev="))).toEqual([
      "virtio-net-pci,bus=port-net0,netdev=net0,id=net0,mac=52:54:00:00:00:01,romfile=",
      "e1000,netdev=net1,id=net1,mac=52:54:00:00:00:02,bootindex=3",
    ]);
  });

  it("has no two ports of one number, and some to spare", () => {
    const ports = devices().filter((word) => word.startsWith("pcie-root-port"));
    expect(ports.filter((word) => word.includes("id=hot"))).toHaveLength(hotPlugPorts);
    expect(new Set(ports.map((word) => /chassis=(\d+)/.exec(word)?.[1])).size).toBe(ports.length);
  });

  it("can grow up to its bounds", () => {
    expect(line()("-m")).toEqual(["size=512M,slots=8,maxmem=2048M"]);
    expect(line({ maxMemory: context.memory })("-m")).toEqual(["size=512M"]);
    expect(line()("-smp")).toEqual(["cpus=2,maxcpus=4"]);
    expect(line({ maxCpus: 1 })("-smp")).toEqual(["cpus=2,maxcpus=2"]);
  });

  it("treats Windows as it likes, on KVM with its hints", () => {
    const windows = line({ os: "windows" }, { acceleration: "kvm" });
    expect(windows("-rtc")).toEqual(["base=localtime,driftfix=slew"]);
    expect(windows("-cpu")[0]).toMatch(/^host,hv-relaxed,/);
    expect(windows("-M")[0]).toContain("hpet=off");
    expect(line({ os: "windows" })("-cpu")[0]).not.toContain("hv-");
    expect(line()("-rtc")).toEqual(["base=utc"]);
  });

  it("has UEFI with variables of its own, a TPM, and no screen, when asked to", () => {
    const uefi = line({ firmware: "uefi", tpm: true, vga: "none" }, { uefiCode: "/usr/share/OVMF/OVMF_CODE_4M.fd" });
    expect(uefi("-M")[0]).toContain("pflash0=uefi-code,pflash1=uefi-vars");
    expect(uefi("-blockdev")).toContain(
      "driver=file,node-name=uefi-code,filename=/usr/share/OVMF/OVMF_CODE_4M.fd,read-only=on",
    );
    expect(uefi("-tpmdev")).toEqual(["emulator,id=tpm0,chardev=tpm"]);
    expect(uefi("-vnc")).toEqual([]);
    expect(uefi("-device").some((word) => word.startsWith("VGA"))).toBe(false);
    expect(line()("-vnc")).toEqual(["unix:/berth/run/vnc.sock"]);
  });
});
