import { closeSync } from "node:fs";
import { openPidfd, sendSignal } from "../process/pidfd.ts";
import { SyscallError } from "../syscall-error.ts";

const SIGKILL = 9;

/**
 * Kills what `list` names. Descriptors are opened first and the list is read again: a pid that is still in the group then is
 * the process that we hold, not a later one with the same number.
 */
export function killProcesses(list: () => readonly number[]): void {
  const pidfds = new Map<number, number>();
  for (const pid of list()) {
    const pidfd = orGone(() => openPidfd(pid));
    if (pidfd !== undefined) pidfds.set(pid, pidfd);
  }
  if (pidfds.size === 0) return;
  const still = new Set(list());
  for (const [pid, pidfd] of pidfds) {
    if (still.has(pid)) orGone(() => sendSignal(pidfd, SIGKILL));
    else closeSync(pidfd);
  }
}

function orGone<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof SyscallError && error.code === "ESRCH") return undefined;
    throw error;
  }
}
