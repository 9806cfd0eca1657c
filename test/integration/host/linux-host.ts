import { createLinuxHost } from "../../../src/host/linux-host.ts";
import type { Host } from "../../../src/host/host.ts";
import { silentLogger } from "../../../src/base/logger.ts";

/** Opens the real host for a test file; disposing closes it. */
export async function openHost(): Promise<Host & AsyncDisposable> {
  const host = await createLinuxHost({ log: silentLogger });
  return { ...host, [Symbol.asyncDispose]: () => host.close() };
}

/** Six hex digits, so that runs side by side don't meet. */
export const testSuffix = process.pid.toString(16).padStart(6, "0").slice(-6);
