import { setTimeout as delay } from "node:timers/promises";

/** Asks until it is so: a machine under emulation, on a host with other work, takes its time. Fails with `what` when the time is over. */
export async function until(isSo: () => Promise<boolean>, what: string, seconds: number): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await delay(250);
  }
}
