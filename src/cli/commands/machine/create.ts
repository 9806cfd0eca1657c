import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseSize } from "../../../base/byte-size.ts";
import { messageOf } from "../../../base/errors.ts";
import { MachinesClient } from "../../../client/machines.ts";
import { DiskBus, MachineFirmware, MachineOs, MachineSpec, NicModel } from "../../../schema/machine.ts";
import type { CreateMachineBody, MachineNicRequest } from "../../../schema/machine-api.ts";
import { defineCommand, flag, integer, list, type OptionValues, text } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { drawProgress } from "../../render/progress.ts";
import { portSpecs } from "../container/parse-ports.ts";
import { choice } from "./choice.ts";

/** Whatever a machine is made from. */
export const machineOptions = {
  disk: text("SIZE", "Size of its disk (10GiB, or what the image has where that is more)"),
  diskBus: text("BUS", "virtio, scsi or sata"),
  cpus: integer("N", "Processors"),
  memory: text("SIZE", "Memory", "m"),
  os: text("OS", "linux, windows or other: which hardware it finds drivers for"),
  firmware: text("KIND", "bios or uefi"),
  tpm: flag("Give it a TPM 2.0"),
  noTpm: flag("No TPM, whatever the OS"),
  vga: text("KIND", "Its screen: std, virtio or none"),
  network: list("NETWORK", "Network that it is on; a card for each"),
  nic: list("NETWORK[,model=M][,mac=M][,ip=A]", "The same, with the card's model, MAC address and IPv4 address"),
  mac: text("MAC", "MAC address of the first card"),
  ip: text("ADDRESS", "IPv4 address of the first card"),
  publish: list("PORTS", "Publish ports: [[IP:]HOSTPORT:]PORT[/PROTOCOL]", "p"),
  user: text("NAME", "User that cloud-init makes, who may use sudo"),
  sshKey: list("FILE", "Public key that may log in as that user: a file, or the key itself"),
  cloudInit: text("FILE", "A whole user-data file for cloud-init"),
  label: list("KEY=VALUE", "Set a label", "l"),
  restart: text("POLICY", "no, always, unless-stopped or on-failure"),
  start: flag("Switch it on as well"),
} as const;

const options = {
  image: text("IMAGE", "Image with a disk in it (machine/IMAGE or IMAGE)"),
  iso: text("FILE", "ISO to boot from, such as an installer; its disk is blank"),
  diskFile: text("FILE", "Disk to copy: qcow2, raw, vmdk, vdi, vhdx"),
  ...machineOptions,
  quiet: flag("No progress", "q"),
} as const;

export const create = defineCommand({
  arguments: "NAME",
  options,
  help: "Files are those of the engine's host, and are not needed any more once it is made.",
  async run(ctx, [name = ""], values) {
    const body = createBody(name, values);
    const progress = await new MachinesClient(ctx.client).create(body, ctx.signal);
    await drawProgress(ctx, progress, { quiet: values.quiet });
    ctx.stdout.write(`${name}\n`);
  },
});

export function createBody(name: string, values: OptionValues<typeof options>): CreateMachineBody {
  return {
    ...machineBody(name, values),
    ...(values.image === undefined ? {} : { image: values.image }),
    ...(values.iso === undefined ? {} : { iso: resolve(values.iso) }),
    ...(values.diskFile === undefined ? {} : { diskFile: resolve(values.diskFile) }),
  };
}

/** All but what it is made from. */
export function machineBody(name: string, values: Values): Omit<CreateMachineBody, "image" | "iso" | "diskFile"> {
  const nics = networkCards(values);
  return {
    name,
    ...(values.disk === undefined ? {} : { disk: size("disk", values.disk) }),
    ...(values.diskBus === undefined ? {} : { diskBus: choice(DiskBus, "disk-bus", values.diskBus) }),
    ...(values.cpus === undefined ? {} : { cpus: values.cpus }),
    ...(values.memory === undefined ? {} : { memory: size("memory", values.memory) }),
    ...(values.os === undefined ? {} : { os: choice(MachineOs, "os", values.os) }),
    ...(values.firmware === undefined ? {} : { firmware: choice(MachineFirmware, "firmware", values.firmware) }),
    ...(values.tpm || values.noTpm ? { tpm: values.tpm && !values.noTpm } : {}),
    ...(values.vga === undefined ? {} : { vga: choice(MachineSpec.properties.vga, "vga", values.vga) }),
    ...(nics === undefined ? {} : { nics: [...nics] }),
    ports: portSpecs(values.publish),
    ...cloudInit(values),
    labels: Object.fromEntries(values.label.map((label) => splitAt(label, "="))),
    ...(values.restart === undefined ? {} : { restart: choice(restartPolicies, "restart", values.restart) }),
    start: values.start,
  };
}

const restartPolicies = {
  anyOf: [{ const: "no" }, { const: "always" }, { const: "unless-stopped" }, { const: "on-failure" }],
} as const;

type Values = OptionValues<typeof machineOptions>;

/** Undefined leaves the engine's default. */
function networkCards({ network, nic, mac, ip }: Values): readonly MachineNicRequest[] | undefined {
  const stated = [...network.map((name) => ({ network: name })), ...nic.map(parseNic)];
  if (stated.length === 1 && stated[0]?.network === "none") return [];
  if (stated.length === 0 && mac === undefined && ip === undefined) return undefined;
  const [first = { network: "bridge" }, ...others] = stated;
  return [{ ...first, ...(mac === undefined ? {} : { mac }), ...(ip === undefined ? {} : { address: ip }) }, ...others];
}

function parseNic(word: string): MachineNicRequest {
  const [network = "", ...rest] = word.split(",");
  const given = new Map(rest.map((pair) => splitAt(pair, "=")));
  const unknown = [...given.keys()].find((key) => key !== "model" && key !== "mac" && key !== "ip");
  if (unknown !== undefined || network === "") {
    throw cliErrors.OPTION_INVALID({
      option: "nic",
      value: word,
      reason: "NETWORK[,model=…][,mac=…][,ip=…] is needed",
    });
  }
  const [model, mac, address] = [given.get("model"), given.get("mac"), given.get("ip")];
  return {
    network,
    ...(model === undefined ? {} : { model: choice(NicModel, "nic", model) }),
    ...(mac === undefined ? {} : { mac }),
    ...(address === undefined ? {} : { address }),
  };
}

function cloudInit({ user, sshKey, cloudInit: file }: Values): Pick<CreateMachineBody, "cloudInit"> {
  if (sshKey.length > 0 && user === undefined) {
    throw cliErrors.OPTION_INVALID({ option: "ssh-key", value: sshKey[0] ?? "", reason: "--user says whose it is" });
  }
  if (user === undefined && file === undefined) return {};
  return {
    cloudInit: {
      ...(user === undefined ? {} : { user: { name: user, sshKeys: sshKey.map(publicKey) } }),
      ...(file === undefined ? {} : { userData: textOf(file) }),
    },
  };
}

/** A key has its kind in front; anything else is the file of one. */
function publicKey(word: string): string {
  return /^(ssh-|ecdsa-|sk-)\S+ \S/.test(word) ? word : textOf(word).trim();
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw cliErrors.FILE_UNREADABLE({ path, reason: messageOf(error) }, { cause: error });
  }
}

export function size(option: string, value: string): number {
  const bytes = parseSize(value);
  if (bytes === undefined || bytes <= 0) {
    throw cliErrors.OPTION_INVALID({ option, value, reason: "a size such as 2GiB or 512m" });
  }
  return bytes;
}

function splitAt(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}
