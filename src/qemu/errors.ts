import { defineErrors } from "../base/errors.ts";

/** What can go wrong between the engine and a QEMU or the agent in its guest. */
export const qemuErrors = defineErrors({
  QMP_UNREACHABLE: {
    status: 409,
    message: (p: { socket: string; reason: string }) => `QEMU can't be reached at ${p.socket}: ${p.reason}`,
    hint: () => "the machine has ended, or is only starting: 'berth machine ls' says which",
  },
  QMP_SILENT: {
    status: 504,
    message: (p: { command: string; seconds: number }) => `QEMU has not answered ${p.command} within ${p.seconds} s`,
    hint: () => "a paused machine does not answer (unpause it); else the host is overloaded, or QEMU hangs: kill it",
  },
  QMP_LOST: {
    status: 409,
    message: (p: { command: string; reason: string }) => `QEMU has gone during ${p.command}: ${p.reason}`,
    hint: () => "the machine's log has its last words",
  },
  QGA_UNREACHABLE: {
    status: 409,
    message: (p: { socket: string; reason: string }) => `the guest agent can't be reached at ${p.socket}: ${p.reason}`,
    hint: () => "the machine has ended, or was made without a guest agent's port",
  },
  QGA_SILENT: {
    status: 504,
    message: (p: { command: string; seconds: number }) =>
      `the agent in the guest has not answered ${p.command} within ${p.seconds} s`,
    hint: () => "is the guest up, with qemu-guest-agent installed and running? A paused machine does not answer either",
  },
  QGA_LOST: {
    status: 502,
    message: (p: { command: string; reason: string }) =>
      `the guest agent's answer to ${p.command} is lost: ${p.reason}`,
  },
  QGA_REPLY_INVALID: {
    status: 502,
    message: (p: { command: string; reason: string }) =>
      `the guest agent's answer to ${p.command} is unusable: ${p.reason}`,
  },
  GUEST_FILE_TOO_LARGE: {
    status: 413,
    message: (p: { path: string; bytes: number }) => `${p.path} in the guest has more than ${p.bytes} bytes`,
  },
  SNAPSHOT_NOT_IN_DISK: {
    status: 409,
    message: (p: { name: string; disk: string; what: string }) =>
      `the disk ${p.disk} has no ${p.what} of the snapshot ${p.name}`,
    hint: () => "the disk was attached or replaced after the snapshot was made",
  },
  GUEST_KEEPS_DEVICE: {
    status: 409,
    message: (p: { device: string; seconds: number }) =>
      `the guest has not let go of the device ${p.device} within ${p.seconds} s`,
    hint: () =>
      "unmount it in the guest and try again; a guest that is not up yet, or knows no hot-plugging, has to be stopped first",
  },
  HOT_PLUG_FULL: {
    status: 409,
    message: (p: { ports: number }) => `all ${p.ports} ports for devices that are plugged in while it runs are taken`,
    hint: () => "restart the machine: what was plugged in then gets a place of its own, and the ports are free again",
  },
  DEVICE_MISSING: {
    status: 409,
    message: (p: { device: string }) => `the running machine has no device ${p.device}`,
    hint: () => "it will have it when it is started the next time",
  },
  CPUS_FULL: {
    status: 409,
    message: (p: { count: number; most: number }) =>
      `the running machine can't have ${p.count} processors: it was started with places for ${p.most}`,
    hint: () => "stop it, resize it, and start it again",
  },
  MEMORY_FULL: {
    status: 409,
    message: (p: { reason: string }) => `the running machine can't be given more memory: ${p.reason}`,
    hint: () => "stop it, resize it, and start it again",
  },
  JOB_FAILED: {
    status: 500,
    message: (p: { job: string; reason: string }) => `QEMU could not finish ${p.job}: ${p.reason}`,
  },
  JOB_UNFINISHED: {
    status: 504,
    message: (p: { job: string; seconds: number }) =>
      `QEMU has not finished ${p.job} within ${p.seconds} s; it was cancelled`,
  },
});
