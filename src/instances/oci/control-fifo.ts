import { constants, open } from "node:fs/promises";
import { join } from "node:path";
import { failpoints } from "../../host/failpoints.ts";
import type { TerminalSize } from "../driver.ts";

/** Sets the size of the terminal that conmon in `dir` holds; false when there is no conmon any more. conmon takes up to 1000. */
export async function resizeTerminal(dir: string, { rows, columns }: TerminalSize): Promise<boolean> {
  return await send(dir, `1 ${Math.min(rows, 1000)} ${Math.min(columns, 1000)}\n`);
}

/** Makes conmon open its log file anew, at the same path; false when there is no conmon any more. */
export async function reopenLogFile(dir: string): Promise<boolean> {
  return await send(dir, "2 0 0\n");
}

async function send(dir: string, line: string): Promise<boolean> {
  if (failpoints.on) await failpoints.before("process.conmon.control", dir);
  try {
    await using fifo = await open(join(dir, "ctl"), constants.O_WRONLY | constants.O_NONBLOCK);
    await fifo.write(line);
    return true;
  } catch (error) {
    // ENXIO: nobody reads it. ENOENT: the bundle is gone.
    if (error instanceof Error && "code" in error && (error.code === "ENXIO" || error.code === "ENOENT")) return false;
    throw error;
  }
}
