/** A machine that is on its way from another engine starts with nothing of its own: QEMU waits for its memory. A file in its directory says so. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { rm, writeFile } from "../../host/files.ts";

const fileIn = (dataDir: string) => join(dataDir, "incoming");

export function isIncoming(dataDir: string): boolean {
  return existsSync(fileIn(dataDir));
}

export async function markIncoming(dataDir: string): Promise<void> {
  await writeFile(fileIn(dataDir), "", { mode: 0o600, flush: true });
}

/** It runs here: from now on it starts as any other. */
export async function unmarkIncoming(dataDir: string): Promise<void> {
  await rm(fileIn(dataDir), { force: true });
}
