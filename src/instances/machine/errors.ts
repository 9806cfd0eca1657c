import { defineErrors } from "../../base/errors.ts";

/** What a whole-OS machine is refused for, or fails for. */
export const hardwareErrors = defineErrors({
  HARDWARE_UNAVAILABLE: {
    status: 503,
    message: (p: { readonly what: string; readonly program: string }) =>
      `this host can't give a machine ${p.what}: ${p.program} is not installed`,
    hint: (p) => `apt-get install --no-install-recommends ${packageOf[p.program] ?? p.program}`,
  },
  HARDWARE_FAILED: {
    status: 500,
    message: (p: { readonly id: string; readonly reason: string }) =>
      `failed to start the machine ${p.id.slice(0, 12)}: ${p.reason}`,
  },
  HARDWARE_DISK_IN_USE: {
    status: 409,
    message: (p: { readonly id: string; readonly reason: string }) =>
      `failed to start the machine ${p.id.slice(0, 12)}: another process uses one of its disks: ${p.reason}`,
    hint: () => "a machine's disk is for one machine at a time: stop what has it open (qemu-img or another QEMU)",
  },
  RESUME_POINT_INVALID: {
    status: 500,
    message: (p: { readonly file: string }) => `what the machine is to go on from can't be read: ${p.file}`,
    hint: () => "remove that file to boot it from its disks",
  },
  RESUME_FAILED: {
    status: 500,
    message: (p: { readonly id: string; readonly what: string; readonly reason: string }) =>
      `the machine ${p.id.slice(0, 12)} can't go on from ${p.what}: ${p.reason}`,
    hint: () => "boot it from its disks instead: berth machine save --discard MACHINE, then start it",
  },
  HARDWARE_SILENT: {
    status: 504,
    message: (p: { readonly id: string; readonly seconds: number }) =>
      `QEMU of the machine ${p.id.slice(0, 12)} did not answer within ${p.seconds} seconds`,
    hint: () => "look at the engine's log and at what else this host runs",
  },
  AGENT_HAS_NO_TERMINAL: {
    status: 400,
    message: (p: { readonly id: string }) =>
      `a command in the machine ${p.id.slice(0, 12)} can't have a terminal: qemu-guest-agent runs it`,
    hint: () => "leave -t out; 'berth machine console' or ssh have a terminal",
  },
  AGENT_INPUT_TOO_LARGE: {
    status: 413,
    message: (p: { readonly mebibytes: number }) =>
      `the guest's agent takes at most ${p.mebibytes} MiB of input for a command`,
    hint: () => "copy it in as a file first: berth machine cp",
  },
  GUEST_FILES_FAILED: {
    status: 500,
    message: (p: { readonly verb: string; readonly reason: string }) => `the guest could not ${p.verb}: ${p.reason}`,
    hint: () => "files are copied with the guest's own sh, stat, tar and mktemp, by qemu-guest-agent",
  },
  HARDWARE_UNSUPPORTED: {
    status: 400,
    message: (p: { readonly what: string; readonly why: string }) => `a machine can't have ${p.what}: ${p.why}`,
  },
});

const packageOf: Readonly<Record<string, string>> = {
  swtpm: "swtpm",
  OVMF: "ovmf",
  "qemu-img": "qemu-utils",
  "qemu-system-x86_64": "qemu-system-x86",
};
