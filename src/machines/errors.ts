import { defineErrors } from "../base/errors.ts";

/** What can be wrong with what a machine is made from, or asked to do. */
export const machineRoomErrors = defineErrors({
  MACHINE_NOT_FOUND: {
    status: 404,
    message: (p: { readonly name: string }) => `No such machine: ${p.name}`,
    hint: () => "'berth machine ls' lists them; what 'run --vm' starts is a container's image, for 'berth ps'",
  },
  MACHINE_SOURCE_UNCLEAR: {
    status: 400,
    message: (p: { readonly given: readonly string[] }) =>
      p.given.length === 0
        ? "a machine needs something to boot from"
        : `a machine is made from one of ${p.given.join(", ")}`,
    hint: () => "give --image NAME, --iso FILE with --disk SIZE, or --disk-file FILE",
  },
  IMAGE_HAS_NO_DISK: {
    status: 400,
    message: (p: { readonly image: string }) => `the image ${p.image} has no disk in it (/disk/NAME.qcow2 or .img)`,
    hint: (p) => `make a disk image of it: berth machine image build --from-image ${p.image}`,
  },
  IMAGE_HAS_DISKS: {
    status: 400,
    message: (p: { readonly image: string; readonly disks: readonly string[] }) =>
      `the image ${p.image} has more than one disk in it: ${p.disks.join(", ")}`,
  },
  MEDIUM_UNREADABLE: {
    status: 400,
    message: (p: { readonly file: string; readonly reason: string }) => `${p.file} can't be used: ${p.reason}`,
    hint: () => "paths are those of the engine's host",
  },
  ISO_INVALID: {
    status: 400,
    message: (p: { readonly file: string }) => `${p.file} is no ISO 9660 image`,
    hint: () => "a disk's file is given as --disk-file",
  },
  ISO_NOT_BOOTABLE: {
    status: 400,
    message: (p: { readonly file: string; readonly firmware: string; readonly other: boolean }) =>
      `${p.file} does not boot: it has no boot record${p.other ? ` for ${p.firmware}` : ""} (El Torito)`,
    hint: (p) =>
      p.other
        ? `use --firmware ${p.firmware === "bios" ? "uefi" : "bios"}`
        : "is it the installer's ISO, and whole? Compare its checksum with the publisher's",
  },
  DISK_TOO_SMALL: {
    status: 400,
    message: (p: { readonly wanted: string; readonly source: string; readonly has: string }) =>
      `a disk of ${p.wanted} is too small for ${p.source}, which has ${p.has}`,
  },
  GUEST_IGNORES_ACPI: {
    status: 504,
    message: (p: { readonly name: string; readonly seconds: number }) =>
      `the guest of ${p.name} has not powered off within ${p.seconds} s: it ignores the power button (ACPI), or is busy`,
    hint: () => "wait longer (--timeout), use the guest's own shutdown, or pull the plug: berth machine stop --force",
  },
  MACHINE_NOT_RUNNING: {
    status: 409,
    message: (p: { readonly name: string }) => `the machine ${p.name} does not run`,
    hint: (p) => `berth machine start ${p.name}`,
  },
});
