import { daemonErrors } from "../errors.ts";
import { parseFlags, settingsHelp } from "./flags.ts";
import { settings } from "./settings.ts";

/** `berth config show [--json] [the daemon's flags]`: every setting with its value and where that came from. */
export async function configCommand(words: readonly string[]): Promise<number> {
  const flags = parseFlags(words);
  if (flags.help || flags.words.length === 0) {
    process.stdout.write(
      `Usage: berth config show [--json] [OPTIONS]\n\nShow the engine's settings and where each comes from\n\nSettings:\n${settingsHelp()}`,
    );
    return 0;
  }
  if (flags.words[0] !== "show" || flags.words.length > 1)
    throw daemonErrors.FLAG_INVALID({ reason: `'${flags.words.join(" ")}' is not a berth config command` });
  const { config, sources } = flags.load();
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(config, undefined, 2)}\n`);
    return 0;
  }
  const width = Math.max(...settings.map(({ flag }) => flag.length));
  for (const { flag, property } of settings)
    process.stdout.write(`${flag.padEnd(width)}  ${JSON.stringify(config[property])}  (${sources[property]})\n`);
  return 0;
}
