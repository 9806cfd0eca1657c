/** What an operating system gets where nothing is stated: hardware that it has drivers for from the start. Pure. */
import type { DiskBus, MachineCdrom, MachineFirmware, MachineOs, NicModel } from "../schema/machine.ts";

const GiB = 1024 ** 3;

export interface Preset {
  readonly disk: DiskBus;
  readonly cdrom: MachineCdrom["bus"];
  readonly nic: NicModel;
  readonly firmware: MachineFirmware;
  readonly tpm: boolean;
  readonly cpus: number;
  readonly memory: number;
}

const presets: Readonly<Record<MachineOs, Preset>> = {
  linux: { disk: "virtio", cdrom: "scsi", nic: "virtio", firmware: "bios", tpm: false, cpus: 1, memory: GiB },
  // Its installer has no virtio drivers, and newer ones ask for UEFI and a TPM.
  windows: { disk: "sata", cdrom: "sata", nic: "e1000e", firmware: "uefi", tpm: true, cpus: 2, memory: 2 * GiB },
  other: { disk: "sata", cdrom: "sata", nic: "e1000", firmware: "bios", tpm: false, cpus: 1, memory: GiB },
};

/** Without what this host does not have, which only who asks for it is refused. */
export function presetOf(os: MachineOs, host: { readonly uefi: boolean; readonly tpm: boolean }): Preset {
  const preset = presets[os];
  return { ...preset, firmware: host.uefi ? preset.firmware : "bios", tpm: preset.tpm && host.tpm };
}

/** Of a blank disk, or one made from a smaller image; nothing of it is taken before it is written. */
export const defaultDiskBytes = 10 * GiB;
