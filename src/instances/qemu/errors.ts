import { defineErrors } from "../../base/errors.ts";

/** What running an instance as a virtual machine is refused for, or fails for. */
export const machineErrors = defineErrors({
  MACHINES_UNAVAILABLE: {
    status: 503,
    message: (p: { readonly reasons: readonly string[] }) =>
      `virtual machines can't be run here: ${p.reasons.join("; ")}`,
    hint: () => "run 'npm run setup', or: apt-get install --no-install-recommends qemu-system-x86 e2fsprogs",
  },
  MACHINE_UNSUPPORTED: {
    status: 400,
    message: (p: { readonly what: string; readonly why: string }) => `a virtual machine can't have ${p.what}: ${p.why}`,
    hint: () => "leave it out, or run it as a container (without --runtime vm)",
  },
  FILE_DAEMON_MISSING: {
    status: 503,
    message: () => "a virtual machine can't have binds or volumes here: virtiofsd is not installed",
    hint: () => "apt-get install qemu-system-common (Debian 12) or virtiofsd (later ones)",
  },
  GUEST_USER_UNKNOWN: {
    status: 400,
    message: (p: { readonly reason: string }) => p.reason,
    hint: () => "use a numeric id, or an image whose /etc/passwd or /etc/group has that name",
  },
  MACHINE_FAILED: {
    status: 500,
    message: (p: { readonly id: string; readonly reason: string }) =>
      `failed to start the virtual machine of ${p.id.slice(0, 12)}: ${p.reason}`,
  },
  DISK_HAS_NO_ROOT: {
    status: 400,
    message: (p: { readonly name: string; readonly found: string }) =>
      `there is no root file system on the disk of ${p.name} that can be read: ${p.found === "" ? "it is empty" : p.found}`,
    hint: () =>
      "ext4, XFS and btrfs are read, in a partition or on the whole disk; not what is encrypted, on LVM, or not Linux",
  },
  AGENT_SILENT: {
    status: 504,
    message: (p: { readonly id: string; readonly seconds: number }) =>
      `the agent in the virtual machine of ${p.id.slice(0, 12)} did not answer within ${p.seconds} seconds`,
    hint: () => "its kernel may hang: look at its log, or kill it",
  },
  AGENT_REFUSED: {
    status: 500,
    message: (p: { readonly verb: string; readonly reason: string }) => `the guest could not ${p.verb}: ${p.reason}`,
  },
});
