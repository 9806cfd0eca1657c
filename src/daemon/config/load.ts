import { readFileSync } from "node:fs";
import { Value } from "typebox/value";
import { messageOf } from "../../base/errors.ts";
import { EngineConfig } from "../../schema/config.ts";
import { configErrors } from "./errors.ts";
import { settings, type Setting } from "./settings.ts";

/** Where a setting's value came from. */
export type ConfigSource = "default" | "file" | "environment" | "flag";

export interface LoadedConfig {
  readonly config: EngineConfig;
  readonly sources: Readonly<Record<keyof EngineConfig, ConfigSource>>;
}

export interface ConfigInputs {
  /** Undefined: {@link defaultConfigFile} when it exists. A given one must exist. */
  readonly file?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** By flag name ("data-root"); a repeated flag is an array. */
  readonly flags: Readonly<Record<string, unknown>>;
}

export const defaultConfigFile = "/etc/berth/config.json";

/** Merges all sources, the later over the earlier, and checks each value where it was found. */
export function loadConfig(inputs: ConfigInputs): LoadedConfig {
  const values: Record<string, unknown> = {};
  const sources: Record<string, ConfigSource> = {};
  for (const setting of settings) {
    values[setting.property] = structuredClone(setting.default);
    sources[setting.property] = "default";
  }
  const set = (setting: Setting, value: unknown, source: ConfigSource, origin: string) => {
    values[setting.property] = checked(setting, value, origin);
    sources[setting.property] = source;
  };

  const file = readFile(inputs.file);
  for (const [key, value] of Object.entries(file.values)) {
    const setting = settings.find(({ flag, property }) => key === flag || key === property);
    if (setting === undefined) throw configErrors.CONFIG_KEY_UNKNOWN({ source: file.path, key });
    set(setting, value, "file", file.path);
  }
  for (const setting of settings) {
    const value = inputs.environment[setting.variable];
    if (value !== undefined && value !== "") set(setting, fromText(setting, value), "environment", setting.variable);
  }
  for (const [flag, value] of Object.entries(inputs.flags)) {
    const setting = settings.find((candidate) => candidate.flag === flag);
    if (setting === undefined) throw configErrors.CONFIG_KEY_UNKNOWN({ source: "the command line", key: `--${flag}` });
    set(setting, fromFlag(setting, value), "flag", `--${flag}`);
  }
  return { config: Value.Parse(EngineConfig, values), sources: sources as LoadedConfig["sources"] };
}

function readFile(path: string | undefined): { readonly path: string; readonly values: object } {
  const chosen = path ?? defaultConfigFile;
  let text: string;
  try {
    text = readFileSync(chosen, "utf8");
  } catch (error) {
    if (path === undefined && error instanceof Error && "code" in error && error.code === "ENOENT")
      return { path: chosen, values: {} };
    throw configErrors.CONFIG_UNREADABLE({ path: chosen, reason: messageOf(error) }, { cause: error });
  }
  try {
    const values: unknown = JSON.parse(text);
    if (typeof values === "object" && values !== null && !Array.isArray(values)) return { path: chosen, values };
  } catch (error) {
    throw configErrors.CONFIG_UNREADABLE({ path: chosen, reason: messageOf(error) }, { cause: error });
  }
  throw configErrors.CONFIG_UNREADABLE({ path: chosen, reason: "it does not hold a JSON object" });
}

function checked(setting: Setting, value: unknown, source: string): unknown {
  if (Value.Check(setting.schema, value)) return value;
  const reason = Value.Errors(setting.schema, value)[0]?.message ?? "not valid";
  throw configErrors.CONFIG_VALUE_INVALID({ source, key: setting.flag, value: JSON.stringify(value), reason });
}

function fromFlag(setting: Setting, value: unknown): unknown {
  if (Array.isArray(value))
    return setting.kind === "pools" ? value.map((item) => poolFromText(String(item))) : value.map(String);
  return typeof value === "string" ? fromText(setting, value) : value;
}

/** Reads a value as environment variables and flags write it: lists are separated by commas. */
function fromText(setting: Setting, text: string): unknown {
  switch (setting.kind) {
    case "string":
      return text;
    case "integer":
      return /^-?\d+$/.test(text) ? Number(text) : text;
    case "number":
      return /^\d+(\.\d+)?$/.test(text) ? Number(text) : text;
    case "boolean": {
      if (/^(1|true|yes|on)$/i.test(text)) return true;
      return /^(0|false|no|off)$/i.test(text) ? false : text;
    }
    case "strings":
      return text.split(",").filter((item) => item !== "");
    case "pools":
      return text.split(/[;\s]+/).map(poolFromText);
  }
}

/** "base=10.0.0.0/8,size=24", as dockerd's --default-address-pool. */
function poolFromText(text: string): unknown {
  const field = (name: string) =>
    text
      .split(",")
      .find((part) => part.startsWith(`${name}=`))
      ?.slice(name.length + 1);
  return { base: field("base"), size: Number(field("size")) };
}
