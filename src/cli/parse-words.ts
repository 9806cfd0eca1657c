import { parseArgs } from "node:util";
import type { Command, Option, Options } from "./command.ts";
import { cliErrors } from "./errors.ts";

export interface ParsedWords {
  readonly words: readonly string[];
  /** By option name; what was not given is false, [] or undefined. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly help: boolean;
}

/**
 * Reads a command's words as docker's flags are read: `--rm`, `--rm=false`, `--name x`, `--name=x`, `-it`, `-p80:80`, `--` ends options,
 * and with `passThrough` so does the first word. Node's own tokenizer does the splitting; commander was tried and can't tell
 * `--rm=false` from `--rm IMAGE`.
 */
export function parseWords(command: Command, path: string, given: readonly string[]): ParsedWords {
  const table = optionTable(command.options);
  const { tokens } = parseArgs({
    args: [...given],
    options: Object.fromEntries([...table].map(([long, { option }]) => [long, tokenizerOption(option)])),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values: Record<string, unknown> = {};
  const words: string[] = [];
  for (const [name, option] of Object.entries(command.options)) values[name] = emptyValue(option);
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      if (command.passThrough === true) {
        words.push(...given.slice(token.index));
        break;
      }
      words.push(token.value);
      continue;
    }
    if (token.name === "help") return { words, values, help: true };
    const found = table.get(token.name);
    if (found === undefined) throw cliErrors.USAGE({ reason: `unknown flag: ${token.rawName}`, command: path });
    values[found.name] = readValue(found.option, token.name, token.value, values[found.name], path);
  }
  return { words, values, help: false };
}

/** "noTrunc" -> "no-trunc". */
export function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function optionTable(options: Options): ReadonlyMap<string, { readonly name: string; readonly option: Option }> {
  return new Map(Object.entries(options).map(([name, option]) => [dashed(name), { name, option }]));
}

function tokenizerOption(option: Option): { type: "string" | "boolean"; short?: string } {
  return {
    type: option.kind === "flag" ? "boolean" : "string",
    ...(option.short === undefined ? {} : { short: option.short }),
  };
}

function emptyValue(option: Option): unknown {
  if (option.kind === "flag") return option.unlessGiven ?? false;
  return option.kind === "list" ? [] : undefined;
}

function readValue(option: Option, long: string, value: string | undefined, before: unknown, command: string): unknown {
  if (option.kind === "flag") {
    if (value === undefined || /^(1|t|true)$/i.test(value)) return true;
    if (/^(0|f|false)$/i.test(value)) return false;
    throw cliErrors.OPTION_INVALID({ option: long, value, reason: "true or false is needed" });
  }
  if (value === undefined) throw cliErrors.USAGE({ reason: `flag needs an argument: --${long}`, command });
  if (option.kind === "text") return value;
  if (option.kind === "list") return [...(Array.isArray(before) ? before : []), value];
  if (!/^[+-]?\d+$/.test(value))
    throw cliErrors.OPTION_INVALID({ option: long, value, reason: "a whole number is needed" });
  return Number(value);
}
