/**
 * QEMU's whole command line for a machine: pure. Paths are those inside the jail; `{tap0}` and `{control}` are filled in by berth-vmm
 * (guest/vmm/machine.c) with descriptors that it makes there. Names of devices are those of the specification: as QEMU's id, as the node
 * of a disk's contents, and as the serial number that the guest sees.
 */
import type { Acceleration } from "../../guest/kvm-probe.ts";
import type { DiskBus, MachineDisk, MachineNic, MachineSpec } from "../../schema/machine.ts";
import { translationBufferMiB } from "./hardware-size.ts";
import { files, inJail } from "./layout.ts";

export interface LineContext {
  readonly id: string;
  readonly name: string;
  readonly program: string;
  readonly acceleration: Acceleration["kind"];
  /** Bytes. */
  readonly memory: number;
  readonly cpus: number;
  /** By the network's name. */
  readonly macs: Readonly<Record<string, string>>;
  /** The firmware's code; "" for a BIOS, which QEMU has. */
  readonly uefiCode: string;
}

/** Ports that are free for devices that are plugged in while it runs: `hot0`, ... */
export const hotPlugPorts = 6;
const MiB = 1024 * 1024;

export function qemuLine(spec: MachineSpec, context: LineContext): readonly string[] {
  return [
    context.program,
    "-nodefaults",
    "-no-user-config",
    ...option("-display", "none"),
    ...option("-name", `guest=${escaped(context.name)}`),
    ...option("-uuid", spec.uuid),
    ...option("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
    ...processor(spec, context),
    ...memory(spec, context),
    ...option("-rtc", spec.os === "windows" ? "base=localtime,driftfix=slew" : "base=utc"),
    ...option("-boot", "menu=off,strict=on"),
    ...firmware(spec, context),
    ...channels(spec),
    ...device(["virtio-rng-pci", "id=rng"]),
    ...device(["virtio-balloon-pci", "id=balloon", "deflate-on-oom=on"]),
    ...device(["virtio-scsi-pci", "id=scsi"]),
    ...device(["qemu-xhci", "id=usb"]),
    ...device(["usb-tablet", "id=tablet", "bus=usb.0"]),
    ...screen(spec),
    ...tpm(spec),
    ...storage(spec, context),
    ...spec.nics.flatMap((nic, nth) => networkCard(spec, context, nic, nth)),
    ...Array.from({ length: hotPlugPorts }, (_, nth) => rootPort(`hot${nth}`, 128 + nth)).flat(),
  ];
}

const option = (flag: string, value: string) => [flag, value];
const device = (words: readonly string[]) => option("-device", words.join(","));
/** In QEMU's option syntax a comma is written twice. */
const escaped = (text: string) => text.replaceAll(",", ",,");

/** Where no more is asked for than what is stated, QEMU's own processor is the quickest to emulate; these make it what distributions ask for. */
const emulated = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+lahf-lm";
/** What makes Windows at home on KVM (QEMU, docs/system/i386/hyperv.rst). */
const hyperV =
  "hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-vpindex,hv-time,hv-synic,hv-stimer,hv-reset,hv-runtime,hv-frequencies";

function processor(spec: MachineSpec, { acceleration, cpus }: LineContext): readonly string[] {
  const isKvm = acceleration === "kvm";
  const model = !isKvm ? emulated : spec.os === "windows" ? `host,${hyperV}` : "host";
  return [
    ...option("-accel", isKvm ? "kvm" : `tcg,tb-size=${translationBufferMiB}`),
    ...option("-cpu", model),
    ...option("-smp", `cpus=${cpus},maxcpus=${Math.max(cpus, spec.maxCpus)}`),
  ];
}

function memory(spec: MachineSpec, context: LineContext): readonly string[] {
  const size = Math.floor(context.memory / MiB);
  const most = Math.floor(spec.maxMemory / MiB);
  return [
    ...option("-m", most > size ? `size=${size}M,slots=8,maxmem=${most}M` : `size=${size}M`),
    ...option("-object", `memory-backend-ram,id=ram0,size=${size}M`),
  ];
}

function firmware({ firmware: kind, os }: MachineSpec, { id, uefiCode }: LineContext): readonly string[] {
  // Without graphics as far as the firmware is concerned: a BIOS then speaks on the serial console, beside the screen.
  const machine = `q35,memory-backend=ram0,vmport=off,graphics=off${os === "windows" ? ",hpet=off" : ""}`;
  if (kind === "bios") {
    return [
      ...option("-M", machine),
      ...option("-chardev", "ringbuf,id=firmware,size=65536"),
      ...device(["isa-debugcon", "iobase=0x402", "chardev=firmware"]),
    ];
  }
  const variables = `${inJail.disks(id)}/${files.uefiVariables}`;
  return [
    ...option("-M", `${machine},pflash0=uefi-code,pflash1=uefi-vars`),
    ...option("-blockdev", `driver=file,node-name=uefi-code,filename=${uefiCode},read-only=on`),
    ...option("-blockdev", `driver=file,node-name=uefi-vars-file,filename=${variables}`),
    ...option("-blockdev", "driver=qcow2,node-name=uefi-vars,file=uefi-vars-file"),
  ];
}

/** The serial console is the jail's terminal. The agent's, the engine's and the screen's sockets are in the run directory. */
function channels({ vga }: MachineSpec): readonly string[] {
  const socket = (name: string) => `path=${inJail.run}/${name}.sock,server=on,wait=off`;
  return [
    ...option("-chardev", "stdio,id=console,signal=off"),
    ...option("-serial", "chardev:console"),
    ...option("-chardev", "socket,id=control,fd={control}"),
    ...option("-mon", "chardev=control,mode=control"),
    ...option("-chardev", `socket,id=qmp,${socket("qmp")}`),
    ...option("-mon", "chardev=qmp,mode=control"),
    ...device(["virtio-serial-pci", "id=channels"]),
    ...option("-chardev", `socket,id=qga,${socket("qga")}`),
    ...device(["virtserialport", "id=agent", "bus=channels.0", "chardev=qga", "name=org.qemu.guest_agent.0"]),
    ...(vga === "none" ? [] : option("-vnc", `unix:${inJail.run}/vnc.sock`)),
  ];
}

function screen({ vga }: MachineSpec): readonly string[] {
  switch (vga) {
    case "std":
      return device(["VGA", "id=screen"]);
    case "virtio":
      return device(["virtio-vga", "id=screen"]);
    case "none":
      return [];
  }
}

function tpm(spec: MachineSpec): readonly string[] {
  if (!spec.tpm) return [];
  return [
    ...option("-chardev", `socket,id=tpm,path=${inJail.run}/tpm.sock`),
    ...option("-tpmdev", "emulator,id=tpm0,chardev=tpm"),
    ...device(["tpm-crb", "id=tpm-device", "tpmdev=tpm0"]),
  ];
}

/** In the order in which they are stated: guests name their disks by it. The seed is the last. */
function storage(spec: MachineSpec, { id }: LineContext): readonly string[] {
  const sata = new Counter();
  const seed = spec.cloudInit ? [seedDisk] : [];
  return [
    ...[...spec.disks, ...seed].flatMap((disk, nth) => [
      ...contents(`${inJail.disks(id)}/${disk.file}`, disk),
      ...diskDevice(spec, disk, nth, sata),
    ]),
    ...spec.cdroms.flatMap(({ name, bus, file }) => [
      ...(file === "" ? [] : contents(`${inJail.disks(id)}/${file}`, { name, format: "raw", readOnly: true })),
      ...device([
        bus === "sata" ? `ide-cd,bus=ide.${sata.next()}` : "scsi-cd,bus=scsi.0",
        `id=${name}`,
        ...(file === "" ? [] : [`drive=${name}`]),
        ...bootIndex(spec, name),
      ]),
    ]),
  ];
}

/** As `blockdev-add` takes it when one is plugged in later: node `<name>` on node `<name>-file`. */
function contents(path: string, { name, format, readOnly }: Pick<MachineDisk, "name" | "format" | "readOnly">) {
  const access = `read-only=${readOnly ? "on" : "off"}`;
  return [
    ...option("-blockdev", `driver=file,node-name=${name}-file,filename=${path},${access}`),
    ...option("-blockdev", `driver=${format},node-name=${name},file=${name}-file,${access},discard=unmap`),
  ];
}

const seedDisk: MachineDisk = {
  name: "seed",
  bus: "virtio",
  size: 1,
  file: files.seed,
  format: "raw",
  base: "",
  readOnly: true,
};

function diskDevice(spec: MachineSpec, { name, bus }: MachineDisk, nth: number, sata: Counter): readonly string[] {
  const rest = [`drive=${name}`, `id=${name}`, `serial=${name}`, ...bootIndex(spec, name)];
  switch (bus satisfies DiskBus) {
    case "virtio":
      return [...rootPort(`port-${name}`, nth + 1), ...device(["virtio-blk-pci", `bus=port-${name}`, ...rest])];
    case "scsi":
      return device(["scsi-hd", "bus=scsi.0", ...rest]);
    case "sata":
      return device(["ide-hd", `bus=ide.${sata.next()}`, ...rest]);
  }
}

const cards = {
  virtio: "virtio-net-pci",
  e1000e: "e1000e",
  e1000: "e1000",
  rtl8139: "rtl8139",
} as const satisfies Readonly<Record<MachineNic["model"], string>>;

function networkCard(spec: MachineSpec, context: LineContext, nic: MachineNic, nth: number): readonly string[] {
  const { name, model, network } = nic;
  const boots = bootIndex(spec, name);
  const mac = context.macs[network];
  return [
    ...rootPort(`port-${name}`, 64 + nth),
    ...option("-netdev", `tap,id=${name},fd={tap${nth}}`),
    ...device([
      cards[model],
      // A conventional PCI card does not go into a PCI Express port.
      ...(model === "virtio" || model === "e1000e" ? [`bus=port-${name}`] : []),
      `netdev=${name}`,
      `id=${name}`,
      ...(mac === undefined ? [] : [`mac=${mac}`]),
      // Its own ROM is what boots from the network; without it the firmware starts sooner.
      ...(boots.length === 0 ? ["romfile="] : boots),
    ]),
  ];
}

/** A device behind a port of its own can be unplugged while it runs. */
function rootPort(name: string, number: number): readonly string[] {
  return device(["pcie-root-port", `id=${name}`, `chassis=${number}`, `slot=${number}`]);
}

function bootIndex({ boot }: MachineSpec, name: string): readonly string[] {
  const nth = boot.indexOf(name);
  return nth < 0 ? [] : [`bootindex=${nth + 1}`];
}

class Counter {
  #next = 0;

  next(): number {
    return this.#next++;
  }
}
