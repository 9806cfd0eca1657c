import type { Command, Option } from "./command.ts";
import { dashed } from "./parse-words.ts";
import type { CommandEntry, CommandGroup } from "./program.ts";

/** Commands that don't talk to an engine but to the host; they are `daemon/`'s, which explains their flags. */
export const hostCommands: readonly (readonly [name: string, summary: string])[] = [
  ["daemon", "Run the engine and serve its API"],
  ["doctor", "Check this host and say how to mend what is wrong"],
  ["config show", "Show the engine's settings and where each comes from"],
];

/** `berth --help`. */
export function programHelp(groups: readonly CommandGroup[], commands: readonly CommandEntry[]): string {
  const direct = commands.flatMap(({ path, aliases, summary }) =>
    [path, ...aliases].filter((name) => !name.includes(" ")).map((name): [string, string] => [name, summary]),
  );
  return [
    "Usage: berth [OPTIONS] COMMAND\n\nContainers and virtual machines side by side\n",
    section(
      "Commands",
      direct.sort(([a], [b]) => (a < b ? -1 : 1)),
    ),
    section(
      "Groups",
      groups.map(({ name, summary }) => [name, summary]),
    ),
    section("On this host", hostCommands),
    section("Options", [
      ["-H, --host ADDRESS", "Engine to talk to: unix:///path or tcp://host:port (BERTH_HOST)"],
      ["    --tlscacert FILE", "Trust servers signed by this CA (with --tlscert, --tlskey)"],
      ["-v, --version", "Print the version"],
      ["    --help", "Print this help"],
    ]),
    "Run 'berth COMMAND --help' for more about a command.\n",
  ].join("\n");
}

/** `berth image --help`. */
export function groupHelp(group: CommandGroup, commands: readonly CommandEntry[]): string {
  const prefix = `${group.name} `;
  const members = commands.flatMap(({ path, aliases, summary }): readonly (readonly [string, string])[] => {
    // Of several names in one group the first is the usual one.
    const name = [path, ...aliases].find((candidate) => candidate.startsWith(prefix));
    return name === undefined ? [] : [[name.slice(prefix.length), summary]];
  });
  return `Usage: berth ${group.name} COMMAND\n\n${group.summary}\n\n${section("Commands", members)}\nRun 'berth ${group.name} COMMAND --help' for more about a command.\n`;
}

/** `berth container run --help`. */
export function commandHelp(entry: CommandEntry, path: string, command: Command): string {
  const rows = Object.entries(command.options).map(([name, option]): [string, string] => [
    optionUsage(name, option),
    option.description,
  ]);
  const names = [entry.path, ...entry.aliases];
  return [
    `Usage: berth ${path} ${rows.length > 0 ? "[OPTIONS] " : ""}${command.arguments}`.trimEnd(),
    `\n\n${entry.summary}\n`,
    command.help === undefined ? "" : `\n${command.help}\n`,
    names.length > 1 ? `\nAliases:\n  ${names.map((name) => `berth ${name}`).join(", ")}\n` : "",
    rows.length > 0 ? `\n${section("Options", rows)}` : "",
  ].join("");
}

function optionUsage(name: string, option: Option): string {
  const short = option.short === undefined ? "    " : `-${option.short}, `;
  return `${short}--${dashed(name)}${option.kind === "flag" ? "" : ` ${option.placeholder}`}`;
}

function section(title: string, rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 3;
  return `${title}:\n${rows.map(([name, summary]) => `  ${name.padEnd(width)}${summary}\n`).join("")}`;
}
