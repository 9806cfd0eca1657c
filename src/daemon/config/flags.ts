import { parseArgs } from "node:util";
import { messageOf } from "../../base/errors.ts";
import { daemonErrors } from "../errors.ts";
import { defaultConfigFile, type LoadedConfig, loadConfig } from "./load.ts";
import { settings } from "./settings.ts";

export interface ParsedFlags {
  readonly help: boolean;
  /** Words that are not flags. */
  readonly words: readonly string[];
  readonly json: boolean;
  readonly quiet: boolean;
  load(): LoadedConfig;
}

/** Reads the engine's flags: one for each setting, with `--config-file`, `--json`, `--quiet` and `--help`. */
export function parseFlags(words: readonly string[]): ParsedFlags {
  const options = Object.fromEntries(
    settings.map(({ flag, short, kind }) => [
      flag,
      {
        type: kind === "boolean" ? ("boolean" as const) : ("string" as const),
        multiple: kind === "strings" || kind === "pools",
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
  const own = {
    "config-file": { type: "string" },
    json: { type: "boolean" },
    quiet: { type: "boolean", short: "q" },
    help: { type: "boolean" },
  } as const;
  let parsed: { readonly values: Readonly<Record<string, unknown>>; readonly positionals: readonly string[] };
  try {
    parsed = parseArgs({ args: [...words], options: { ...options, ...own }, allowPositionals: true });
  } catch (error) {
    throw daemonErrors.FLAG_INVALID({ reason: messageOf(error) }, { cause: error });
  }
  const { "config-file": file, json, quiet, help, ...flags } = parsed.values;
  return {
    help: help === true,
    words: parsed.positionals,
    json: json === true,
    quiet: quiet === true,
    load: () => loadConfig({ ...(typeof file === "string" ? { file } : {}), environment: process.env, flags }),
  };
}

/** The settings as help text: flag, variable, default, meaning. */
export function settingsHelp(): string {
  const rows = settings.map(({ flag, short, kind, variable, description, default: fallback }) => {
    const placeholder =
      kind === "boolean"
        ? ""
        : kind === "integer" || kind === "number"
          ? " N"
          : kind === "pools"
            ? " base=CIDR,size=N"
            : " VALUE";
    const usage = `  ${short === undefined ? "    " : `-${short}, `}--${flag}${placeholder}`;
    return `${usage}\n          ${description}\n          (${variable}; default ${JSON.stringify(fallback)})\n`;
  });
  return `${rows.join("")}      --config-file FILE\n          JSON file of settings (default ${defaultConfigFile}, when it is there)\n`;
}
