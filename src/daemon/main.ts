/** The commands that need the host itself: `berth daemon`, `berth doctor`, `berth config show`, `berth failpoints`. */
import { isBerthError, messageOf } from "../base/errors.ts";
import { daemonErrors } from "./errors.ts";
import { applyMemorySettings } from "./memory-settings.ts";

/** Runs the command line `words` and returns the exit code. */
export async function main(words: readonly string[]): Promise<number> {
  try {
    const [verb = "", ...rest] = words;
    if (verb === "daemon") {
      applyMemorySettings();
      return await (await import("./serve.ts")).serve(rest);
    }
    if (verb === "doctor") return await (await import("./doctor.ts")).doctor(rest);
    if (verb === "failpoints") return (await import("./failpoints.ts")).failpointsCommand(rest);
    return await (await import("./config/show.ts")).configCommand(rest);
  } catch (error) {
    process.stderr.write(`berth: ${messageOf(error)}\n`);
    if (isBerthError(error)) {
      if (error.hint !== undefined) process.stderr.write(`${error.hint}\n`);
    } else if (error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return isBerthError(error) && error.code === daemonErrors.FLAG_INVALID({ reason: "" }).code ? 125 : 1;
  }
}
