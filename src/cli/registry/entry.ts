import type { CommandEntry } from "../program.ts";

/** `aliases` are separated by commas. */
export const entry = (path: string, aliases: string, summary: string, load: CommandEntry["load"]): CommandEntry => ({
  path,
  aliases: aliases === "" ? [] : aliases.split(","),
  summary,
  load,
});
