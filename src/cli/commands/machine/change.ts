/** Changing a machine's hardware, at once where it runs and its guest can. */
import { resolve } from "node:path";
import { LiveMachinesClient } from "../../../client/live-machines.ts";
import { DiskBus, NicModel } from "../../../schema/machine.ts";
import { defineCommand, flag, integer, list, text } from "../../command.ts";
import { choice } from "./choice.ts";
import { size } from "./create.ts";

export const attachDisk = defineCommand({
  arguments: "MACHINE DISK",
  options: {
    size: text("SIZE", "A blank disk of this size"),
    file: text("FILE", "A copy of this disk: qcow2, raw, vmdk, vdi, vhdx"),
    bus: text("BUS", "virtio (Linux), scsi (others), or sata where it is off"),
    readOnly: flag("The guest can't write to it"),
  },
  help: "DISK is its name, and the serial number that the guest sees. Without --size and --file: one that was detached.",
  run: (ctx, [machine = "", name = ""], values) =>
    new LiveMachinesClient(ctx.client).attachDisk(machine, {
      name,
      ...(values.size === undefined ? {} : { size: size("size", values.size) }),
      ...(values.file === undefined ? {} : { file: resolve(values.file) }),
      ...(values.bus === undefined ? {} : { bus: choice(DiskBus, "bus", values.bus) }),
      readOnly: values.readOnly,
    }),
});

export const detachDisk = defineCommand({
  arguments: "MACHINE DISK",
  options: { delete: flag("Delete its file as well") },
  help: "Its file stays, and can be attached again by its name.",
  run: (ctx, [machine = "", disk = ""], values) =>
    new LiveMachinesClient(ctx.client).detachDisk(machine, disk, { delete: values.delete }),
});

export const attachNic = defineCommand({
  arguments: "MACHINE NETWORK",
  options: {
    name: text("NAME", "Name of the card (the first free of net0, net1, ...)"),
    model: text("MODEL", "virtio, e1000e; e1000 and rtl8139 where it is off"),
    mac: text("MAC", "MAC address"),
    ip: text("ADDRESS", "IPv4 address"),
  },
  async run(ctx, [machine = "", network = ""], values) {
    const nic = await new LiveMachinesClient(ctx.client).attachNic(machine, {
      network,
      ...(values.name === undefined ? {} : { name: values.name }),
      ...(values.model === undefined ? {} : { model: choice(NicModel, "model", values.model) }),
      ...(values.mac === undefined ? {} : { mac: values.mac }),
      ...(values.ip === undefined ? {} : { address: values.ip }),
    });
    ctx.stdout.write(`${nic.name}\n`);
  },
});

export const detachNic = defineCommand({
  arguments: "MACHINE NIC",
  options: {},
  run: (ctx, [machine = "", nic = ""]) => new LiveMachinesClient(ctx.client).detachNic(machine, nic),
});

export const insertIso = defineCommand({
  arguments: "MACHINE FILE",
  options: { drive: text("DRIVE", "Which of its drives (the first; a machine without one is given one)") },
  run: (ctx, [machine = "", file = ""], { drive }) =>
    new LiveMachinesClient(ctx.client).changeMedium(machine, {
      iso: resolve(file),
      ...(drive === undefined ? {} : { drive }),
    }),
});

export const ejectIso = defineCommand({
  arguments: "MACHINE",
  options: { drive: text("DRIVE", "Which of its drives (the first)") },
  run: (ctx, [machine = ""], { drive }) =>
    new LiveMachinesClient(ctx.client).changeMedium(machine, drive === undefined ? {} : { drive }),
});

export const boot = defineCommand({
  arguments: "MACHINE DEVICE [DEVICE...]",
  options: {},
  help: "Disks, drives and network cards by their names, the one to try first at the head; from the next start on.",
  run: (ctx, [machine = "", ...order]) => new LiveMachinesClient(ctx.client).setBootOrder(machine, order),
});

export const resize = defineCommand({
  arguments: "MACHINE",
  options: {
    cpus: integer("N", "Processors"),
    memory: text("SIZE", "Memory", "m"),
    disk: list("[DISK=]SIZE", "Size of a disk (root unless named): never smaller"),
  },
  help: "What the running guest can't take now it has at its next start; each is said.",
  async run(ctx, [machine = ""], values) {
    const disks = values.disk.map((word): readonly [string, number] => {
      const [name, bytes] = word.includes("=") ? word.split("=", 2) : ["root", word];
      return [name ?? "", size("disk", bytes ?? "")];
    });
    const { changes } = await new LiveMachinesClient(ctx.client).resize(machine, {
      ...(values.cpus === undefined ? {} : { cpus: values.cpus }),
      ...(values.memory === undefined ? {} : { memory: size("memory", values.memory) }),
      disks: Object.fromEntries(disks),
    });
    for (const { what, when, note } of changes)
      ctx.stdout.write(`${what}: ${when}${note === "" ? "" : ` (${note})`}\n`);
  },
});

export const clone = defineCommand({
  arguments: "MACHINE NEW_NAME",
  options: {
    linked: flag("Share what both have of the disks, read-only; the machine has to be off"),
    start: flag("Switch the clone on as well"),
  },
  help: "The clone has MAC addresses, a firmware's id and, with cloud-init, a name and SSH keys of its own; no published ports.",
  async run(ctx, [machine = "", name = ""], { linked, start }) {
    const made = await new LiveMachinesClient(ctx.client).clone(machine, { name, linked, start });
    ctx.stdout.write(`${made.name}\n`);
  },
});

export const backup = defineCommand({
  arguments: "MACHINE DIRECTORY",
  options: {},
  help: "Whole disks (qcow2) of one moment, and machine.json, into an empty directory of the engine's host, while it runs.",
  async run(ctx, [machine = "", directory = ""]) {
    const { files, consistent } = await new LiveMachinesClient(ctx.client).backUp(machine, resolve(directory));
    for (const file of files) ctx.stdout.write(`${file}\n`);
    if (!consistent) ctx.stderr.write("No agent answers in the guest: its disks are as after a power cut\n");
  },
});
