import { defineErrors } from "../../base/errors.ts";

/** What the verbs on a machine that runs, and on what is kept of it, are refused for. */
export const liveErrors = defineErrors({
  MACHINE_PAUSED: {
    status: 409,
    message: (p: { readonly machine: string }) => `the machine ${p.machine} is paused: QEMU itself stands still`,
    hint: (p) => `berth unpause ${p.machine}`,
  },
  MACHINE_RUNS: {
    status: 409,
    message: (p: { readonly machine: string; readonly what: string }) => `the machine ${p.machine} runs: ${p.what}`,
    hint: (p) => `berth machine stop ${p.machine}`,
  },
  MACHINE_SAVED: {
    status: 409,
    message: (p: { readonly machine: string }) =>
      `the machine ${p.machine} was saved, to go on where it was: its disks and hardware have to stay as they are until then`,
    hint: (p) => `berth machine start ${p.machine}, or give up its memory: berth machine save --discard ${p.machine}`,
  },
  MACHINE_NOT_SAVED: {
    status: 409,
    message: (p: { readonly machine: string }) => `the machine ${p.machine} was not saved`,
  },
  DEVICES_PLUGGED_IN: {
    status: 409,
    message: (p: { readonly machine: string; readonly devices: readonly string[] }) =>
      `${p.machine} can't be saved: ${p.devices.join(", ")} came while it runs, and will have another place at the next start`,
    hint: (p) => `restart it first: berth machine stop ${p.machine} && berth machine start ${p.machine}`,
  },
  SNAPSHOT_NOT_FOUND: {
    status: 404,
    message: (p: { readonly snapshot: string; readonly machine: string }) =>
      `the machine ${p.machine} has no snapshot ${p.snapshot}`,
    hint: (p) => `berth machine snapshot ls ${p.machine}`,
  },
  SNAPSHOT_EXISTS: {
    status: 409,
    message: (p: { readonly snapshot: string; readonly machine: string }) =>
      `the machine ${p.machine} has a snapshot ${p.snapshot} already`,
  },
  SNAPSHOT_NEEDS_QCOW2: {
    status: 409,
    message: (p: { readonly disk: string; readonly machine: string }) =>
      `no snapshot of ${p.machine}: its disk ${p.disk} is a raw file, which can't keep any`,
  },
  SNAPSHOT_NEEDS_DISK: {
    status: 409,
    message: (p: { readonly machine: string }) => `no snapshot of ${p.machine}: it has no disk to keep one in`,
    hint: (p) => `attach one: berth machine disk attach ${p.machine} state --size 8GiB`,
  },
  SNAPSHOT_HARDWARE_DIFFERS: {
    status: 409,
    message: (p: { readonly snapshot: string; readonly differences: readonly string[] }) =>
      `the machine can't go back to the snapshot ${p.snapshot}: ${p.differences.join("; ")}`,
    hint: () => "attach or detach them first, so that the machine has the disks and network cards that it had then",
  },
  SNAPSHOT_DEVICES_GONE: {
    status: 409,
    message: (p: { readonly snapshot: string }) =>
      `the memory of the snapshot ${p.snapshot} can't be put back: it was made while the machine had devices that had been plugged in, ` +
      "which have another place since it was started anew",
    hint: () => "go back to its disks alone, and boot from them: --disks-only",
  },
  SNAPSHOTS_UNREADABLE: {
    status: 500,
    message: (p: { readonly file: string }) => `the list of the machine's snapshots can't be read: ${p.file}`,
  },
  SCREEN_MISSING: {
    status: 409,
    message: (p: { readonly machine: string }) => `the machine ${p.machine} has no screen`,
    hint: (p) => `its console is a serial line: berth machine console ${p.machine}`,
  },
  SCREENSHOT_INVALID: {
    status: 502,
    message: (p: { readonly machine: string; readonly reason: string }) =>
      `QEMU's screenshot of ${p.machine} can't be used: ${p.reason}`,
  },
  KEY_UNKNOWN: {
    status: 400,
    message: (p: { readonly key: string }) => `there is no key ${JSON.stringify(p.key)} on a machine's keyboard`,
    hint: () => "keys have QEMU's names (ret, esc, f2, ctrl-alt-delete); text is for characters of a US keyboard",
  },
  DEVICE_EXISTS: {
    status: 409,
    message: (p: { readonly device: string; readonly machine: string }) =>
      `the machine ${p.machine} has a device ${p.device} already`,
  },
  DEVICE_NAME_TAKEN: {
    status: 400,
    message: (p: { readonly device: string }) =>
      `a device can't be called ${p.device}: the engine has one of that name`,
  },
  DEVICE_NOT_FOUND: {
    status: 404,
    message: (p: { readonly what: string; readonly device: string; readonly machine: string }) =>
      `the machine ${p.machine} has no ${p.what} ${p.device}`,
    hint: (p) => `berth machine inspect ${p.machine} lists them under hardware`,
  },
  DISK_SOURCE_UNCLEAR: {
    status: 400,
    message: (p: { readonly device: string; readonly detached: boolean }) =>
      p.detached
        ? `a disk ${p.device} of this machine was detached and is kept: it can't be made anew`
        : `the disk ${p.device} is made of --size or of --file, one of them`,
    hint: (p) => (p.detached ? "attach it without --size and --file, or choose another name" : "--size 20GiB"),
  },
  BUS_NOT_HOT: {
    status: 409,
    message: (p: { readonly what: string; readonly machine: string }) =>
      `${p.what} can't be plugged in or out while ${p.machine} runs`,
    hint: (p) => `use virtio or scsi (e1000e for a card), or stop it first: berth machine stop ${p.machine}`,
  },
  DISK_SHARES_BASE: {
    status: 409,
    message: (p: { readonly device: string }) =>
      `the disk ${p.device} stands on one that machines share, which would go when it is detached`,
    hint: () => "detach it with --delete, or clone the machine first",
  },
  NETWORK_HAS_CARD: {
    status: 409,
    message: (p: { readonly network: string; readonly machine: string }) =>
      `the machine ${p.machine} has a card on the network ${p.network} already`,
  },
  CARD_NOT_JOINED: {
    status: 500,
    message: (p: { readonly device: string; readonly reason: string }) =>
      `the network card ${p.device} can't be connected: ${p.reason}`,
  },
  DISK_LINKED_SNAPSHOTS: {
    status: 409,
    message: (p: { readonly machine: string; readonly disk: string }) =>
      `no linked clone of ${p.machine}: its disk ${p.disk} has snapshots, and would become one that machines share`,
    hint: () => "remove the snapshots, or make a full clone",
  },
  BACKUP_TARGET_INVALID: {
    status: 400,
    message: (p: { readonly directory: string; readonly reason: string }) =>
      `no backup into ${p.directory}: ${p.reason}`,
    hint: () => "name a directory of its own for each backup, on the engine's host",
  },
});
