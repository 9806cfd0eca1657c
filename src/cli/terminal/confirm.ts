import { createInterface } from "node:readline/promises";
import type { CliContext } from "../command.ts";

/** Asks before something is destroyed; anything but y or yes is no. */
export async function confirm(ctx: CliContext, warning: string): Promise<boolean> {
  const lines = createInterface({ input: ctx.stdin, output: ctx.stdout });
  try {
    return /^y(es)?$/i.test(
      (await lines.question(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `)).trim(),
    );
  } finally {
    lines.close();
  }
}
