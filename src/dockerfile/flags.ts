/** Flags of instructions: `--from=base`, `--link`. */
import { didYouMean } from "./did-you-mean.ts";
import { syntaxError } from "./errors.ts";

export type FlagKinds = Readonly<Record<string, "text" | "boolean" | "list">>;

export interface Flags {
  /** "" when not given. */
  text(name: string): string;
  /** undefined when not given. */
  boolean(name: string): boolean | undefined;
  list(name: string): readonly string[];
  /** Names given, in order, each once. */
  readonly given: readonly string[];
}

/** Checks the flags of an instruction against what it takes. */
export function parseFlags(flags: readonly string[], kinds: FlagKinds): Flags {
  const values = new Map<string, string[]>();
  for (const flag of flags) {
    const equals = flag.indexOf("=");
    const name = equals < 0 ? flag.slice(2) : flag.slice(2, equals);
    const value = equals < 0 ? undefined : flag.slice(equals + 1);
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (kind === undefined) syntaxError(`unknown flag: --${name}${didYouMean(name, Object.keys(kinds))}`);
    const before = values.get(name);
    if (before !== undefined && kind !== "list") syntaxError(`duplicate flag specified: --${name}`);
    values.set(name, [...(before ?? []), checkedValue(name, kind, value)]);
  }
  return {
    text: (name) => values.get(name)?.[0] ?? "",
    boolean: (name) => {
      const value = values.get(name)?.[0];
      return value === undefined ? undefined : value === "true";
    },
    list: (name) => values.get(name) ?? [],
    given: [...values.keys()],
  };
}

function checkedValue(name: string, kind: FlagKinds[string], value: string | undefined): string {
  if (kind !== "boolean") return value ?? syntaxError(`missing a value on flag: --${name}`);
  switch (value?.toLowerCase()) {
    case "":
      return syntaxError(`missing a value on flag: --${name}`);
    case undefined:
    case "true":
      return "true";
    case "false":
      return "false";
    default:
      return syntaxError(`expecting boolean value for flag --${name}, not: ${value}`);
  }
}
