/** Directories for files on their way in or out. What a killed engine left of them is removed at the next start. */
import { join } from "node:path";
import { newId } from "../../base/ids.ts";
import { mkdir, rm } from "../../host/files.ts";

const root = (dataRoot: string) => join(dataRoot, "machines", "transfers");

export interface Transfer extends AsyncDisposable {
  /** Only root can enter it. Gone, with all that is in it, once it is disposed. */
  readonly directory: string;
}

export async function openTransfer(dataRoot: string): Promise<Transfer> {
  const directory = join(root(dataRoot), newId().slice(0, 12));
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return { directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

export async function removeTransfers(dataRoot: string): Promise<void> {
  await rm(root(dataRoot), { recursive: true, force: true });
}
