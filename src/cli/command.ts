/** Commands as data: what they take, what they print of themselves, and the function that does the work. */
import type { Readable, Writable } from "node:stream";
import type { EngineClient } from "../client/engine-client.ts";

/** What a command may touch. */
export interface CliContext {
  /** Connects when first used. */
  readonly client: EngineClient;
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly now: () => number;
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** The process's exit code, when the command ends without an error of its own. */
  setExitCode(code: number): void;
}

interface OptionBase {
  readonly description: string;
  readonly short?: string;
}
export interface FlagOption extends OptionBase {
  readonly kind: "flag";
  /** What it is when it is not given; false unless said otherwise. */
  readonly unlessGiven?: boolean;
}
export interface TextOption extends OptionBase {
  readonly kind: "text";
  /** Shown in help: "--name NAME". */
  readonly placeholder: string;
}
export interface IntegerOption extends OptionBase {
  readonly kind: "integer";
  readonly placeholder: string;
}
export interface ListOption extends OptionBase {
  readonly kind: "list";
  readonly placeholder: string;
}
export type Option = FlagOption | TextOption | IntegerOption | ListOption;
export type Options = Readonly<Record<string, Option>>;

/** What `run` receives for each kind; an option that was not given is false (or {@link FlagOption.unlessGiven}), [] or undefined. */
type ValueOf<O extends Option> = O extends FlagOption
  ? boolean
  : O extends ListOption
    ? readonly string[]
    : O extends IntegerOption
      ? number | undefined
      : string | undefined;
export type OptionValues<T extends Options> = { readonly [K in keyof T]: ValueOf<T[K]> };

export const flag = (description: string, short?: string): FlagOption => ({
  kind: "flag",
  description,
  ...(short && { short }),
});
/** A flag that is on unless it is turned off: `--rm=false`. */
export const flagOn = (description: string): FlagOption => ({ kind: "flag", description, unlessGiven: true });
export const text = (placeholder: string, description: string, short?: string): TextOption => ({
  kind: "text",
  placeholder,
  description,
  ...(short && { short }),
});
export const integer = (placeholder: string, description: string, short?: string): IntegerOption => ({
  kind: "integer",
  placeholder,
  description,
  ...(short && { short }),
});
export const list = (placeholder: string, description: string, short?: string): ListOption => ({
  kind: "list",
  placeholder,
  description,
  ...(short && { short }),
});

export interface Command {
  /** As in usage: "IMAGE [COMMAND] [ARG...]"; how many are needed follows from it. */
  readonly arguments: string;
  /** By long name, in camel case ("noTrunc" is `--no-trunc`). */
  readonly options: Options;
  /** Longer text under the usage. */
  readonly help?: string;
  /** Words after the first argument belong to the argument, dashes and all (`run IMAGE sh -c …`). */
  readonly passThrough?: boolean;
  run(ctx: CliContext, words: readonly string[], values: Readonly<Record<string, unknown>>): Promise<void>;
}

/** Declares a command; `run`'s option types follow from `options`. */
export function defineCommand<T extends Options>(command: {
  readonly arguments: string;
  readonly options: T;
  readonly help?: string;
  readonly passThrough?: boolean;
  run(ctx: CliContext, words: readonly string[], values: OptionValues<T>): Promise<void>;
}): Command {
  return { ...command, run: (ctx, words, values) => command.run(ctx, words, values as OptionValues<T>) };
}
