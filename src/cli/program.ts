import type { CliContext, Command } from "./command.ts";
import { cliErrors } from "./errors.ts";
import { commandHelp, groupHelp, programHelp } from "./help.ts";
import { parseWords } from "./parse-words.ts";
import { commands, groups } from "./registry.ts";

/** A command's place in the tree. Its module is only loaded when it is called or asked for help. */
export interface CommandEntry {
  /** "container run"; the last word is its name. */
  readonly path: string;
  /** Further paths: "run". */
  readonly aliases: readonly string[];
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

/** A word that holds other commands. */
export interface CommandGroup {
  readonly name: string;
  /** Another word for it. */
  readonly alias?: string;
  readonly summary: string;
}

/** Finds the command that `words` begin with, parses the rest and runs it. */
export async function runProgram(ctx: CliContext, given: readonly string[]): Promise<void> {
  const words = withoutAlias(given);
  const asked = words.filter((word) => word !== "--help" && word !== "help");
  const found = findCommand(words);
  if (found !== undefined) return await runCommand(ctx, found.entry, found.path, found.rest);
  const group = groups.find(({ name }) => name === asked[0]);
  if (group !== undefined && asked.length === 1) {
    ctx.stdout.write(groupHelp(group, commands));
    return;
  }
  if (asked.length === 0) {
    ctx.stdout.write(programHelp(groups, commands));
    return;
  }
  const described = group === undefined ? asked[0] : `${asked[0]} ${asked[1]}`;
  throw cliErrors.USAGE({ reason: `'${described}' is not a berth command.`, command: group?.name ?? "" });
}

/** "vm create" is "machine create". */
function withoutAlias(words: readonly string[]): readonly string[] {
  const at = words[0] === "help" ? 1 : 0;
  const group = groups.find(({ alias }) => alias !== undefined && alias === words[at]);
  return group === undefined ? words : words.with(at, group.name);
}

function findCommand(
  words: readonly string[],
): { entry: CommandEntry; path: string; rest: readonly string[] } | undefined {
  const start = words[0] === "help" ? 1 : 0;
  for (const count of [3, 2, 1]) {
    const path = words.slice(start, start + count).join(" ");
    const entry = commands.find((candidate) => candidate.path === path || candidate.aliases.includes(path));
    if (entry !== undefined && path.split(" ").length === count) {
      return { entry, path, rest: start === 1 ? ["--help"] : words.slice(count) };
    }
  }
  return undefined;
}

async function runCommand(ctx: CliContext, entry: CommandEntry, path: string, given: readonly string[]): Promise<void> {
  const command = await entry.load();
  const { words, values, help } = parseWords(command, path, given);
  if (help) {
    ctx.stdout.write(commandHelp(entry, path, command));
    return;
  }
  checkCount(command.arguments, words.length, path);
  await command.run(ctx, words, values);
}

/** Compares the number of words with a usage such as "IMAGE [COMMAND] [ARG...]" or "CONTAINER [CONTAINER...]". */
function checkCount(usage: string, count: number, command: string): void {
  const words = usage.match(/\[[^\]]*\]+|\S+/g) ?? [];
  const needed = words.filter((word) => !word.startsWith("[")).length;
  const unbounded = words.some((word) => word.includes("..."));
  if (count >= needed && (unbounded || count <= words.length)) return;
  const bound = unbounded
    ? `at least ${needed}`
    : needed === words.length
      ? `${needed}`
      : `${needed} to ${words.length}`;
  const noun = /\b1$/.test(bound) && !bound.includes(" to ") ? "argument" : "arguments";
  throw cliErrors.USAGE({
    reason: `'berth ${command}' takes ${bound} ${noun}, not ${count}\n\nUsage: berth ${command} ${usage}`,
    command,
  });
}
