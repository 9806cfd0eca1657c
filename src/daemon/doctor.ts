/** `berth doctor`: can this host run Berth, and how is what it lacks mended? */
import { background } from "../base/op-context.ts";
import { checkHost } from "../host/checks.ts";
import { createLinuxHost } from "../host/linux-host.ts";
import { silentLogger } from "../base/logger.ts";
import { parseFlags, settingsHelp } from "./config/flags.ts";
import { checkMachines } from "./machine-check.ts";

/** Prints the checks and returns 1 when one failed. `--quiet` prints only what is wrong, `--json` everything as JSON. */
export async function doctor(words: readonly string[]): Promise<number> {
  const flags = parseFlags(words);
  if (flags.help) {
    process.stdout.write(
      `Usage: berth doctor [--quiet] [--json] [OPTIONS]\n\nCheck this host and say how to mend what is wrong\n\nOptions:\n${settingsHelp()}`,
    );
    return 0;
  }
  const { config } = flags.load();
  const host = await createLinuxHost({ log: silentLogger });
  try {
    const checks = [
      ...(await checkHost(background(), host, { dataRoot: config.dataRoot })),
      await checkMachines(background(), host, config.dataRoot),
    ];
    if (flags.json) process.stdout.write(`${JSON.stringify(checks, undefined, 2)}\n`);
    else
      for (const { title, status, detail, remedy } of checks) {
        if (flags.quiet && status !== "error") continue;
        const mark = { ok: "ok     ", warning: "warning", error: "ERROR  " }[status];
        process.stdout.write(`${mark}  ${title}: ${detail}\n`);
        if (status !== "ok" && remedy !== "") process.stdout.write(`         ${remedy}\n`);
      }
    return checks.some(({ status }) => status === "error") ? 1 : 0;
  } finally {
    await host.close();
  }
}
