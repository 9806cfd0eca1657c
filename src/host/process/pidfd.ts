import { closeSync } from "node:fs";
import { bind, checked } from "../libc.ts";

const pidfdOpenCall = bind<(call: number, pid: number, flags: number) => number>(
  "long syscall(long call, int pid, unsigned int flags)",
);
const pidfdSendSignalCall = bind<(call: number, fd: number, signal: number, info: null, flags: number) => number>(
  "long syscall(long call, int pidfd, int sig, void *info, unsigned int flags)",
);
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_SEND_SIGNAL = 424;

/** A descriptor that stands for one process and becomes readable when it ends. Throws ESRCH when there is none. */
export function openPidfd(pid: number): number {
  return checked("pidfd_open", pidfdOpenCall(SYS_PIDFD_OPEN, pid, 0));
}

/** Signals through a pidfd, which is closed; throws ESRCH when the process has ended. */
export function sendSignal(pidfd: number, signal: number): void {
  try {
    checked("pidfd_send_signal", pidfdSendSignalCall(SYS_PIDFD_SEND_SIGNAL, pidfd, signal, null, 0));
  } finally {
    closeSync(pidfd);
  }
}
