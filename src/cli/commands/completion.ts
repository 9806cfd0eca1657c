import { defineCommand } from "../command.ts";
import { cliErrors } from "../errors.ts";
import { hostCommands } from "../help.ts";
import { dashed } from "../parse-words.ts";

/** Scripts are written from the same data as the commands themselves, so they can't lag behind. */
export const completion = defineCommand({
  arguments: "bash|zsh|fish",
  options: {},
  help: "Put the output where your shell looks, e.g. berth completion bash > /etc/bash_completion.d/berth",
  async run(ctx, [shell = ""]) {
    const table = await completionTable();
    if (shell === "bash") ctx.stdout.write(bashScript(table));
    else if (shell === "zsh")
      ctx.stdout.write(`#compdef berth\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(table)}`);
    else if (shell === "fish") ctx.stdout.write(fishScript(table));
    else throw cliErrors.USAGE({ reason: `no completion for '${shell}': bash, zsh or fish`, command: "completion" });
  },
});

/** Path of words -> what may follow: further words and flags. */
type Table = ReadonlyMap<string, readonly string[]>;

async function completionTable(): Promise<Table> {
  // Imported here, since the registry lists this very command.
  const { commands, groups } = await import("../registry.ts");
  const table = new Map<string, string[]>();
  const add = (path: string, word: string) => {
    const words = table.get(path) ?? [];
    if (!words.includes(word)) words.push(word);
    table.set(path, words);
  };
  for (const { name } of groups) add("", name);
  for (const [name] of hostCommands) {
    const words = name.split(" ");
    for (const [index, word] of words.entries()) add(words.slice(0, index).join(" "), word);
  }
  for (const { path, aliases, load } of commands) {
    const { options } = await load();
    for (const full of [path, ...aliases]) {
      const words = full.split(" ");
      for (const [index, word] of words.entries()) add(words.slice(0, index).join(" "), word);
      for (const name of Object.keys(options)) add(full, `--${dashed(name)}`);
    }
  }
  return table;
}

/** Commands whose words name something of the engine's. */
const containers = {
  any: both("container", "start restart rm rename diff commit export cp port wait update logs inspect").concat(
    "inspect",
  ),
  running: both("container", "stop kill exec attach top stats pause unpause"),
};
const images = [
  ...both("image", "tag push save history"),
  "run",
  "create",
  "container run",
  "container create",
  "rmi",
].concat(["image rm", "image inspect"]);
const networks = ["network rm", "network inspect", "network connect", "network disconnect"];
const volumes = ["volume rm", "volume inspect"];

function both(group: string, words: string): readonly string[] {
  return words.split(" ").flatMap((word) => (word === "inspect" ? [`${group} ${word}`] : [word, `${group} ${word}`]));
}

/** A pattern of bash's `case`. */
function namesOf(paths: readonly string[]): string {
  return `    ${paths.map((path) => `"${path}":*`).join("|")}`;
}

function bashScript(table: Table): string {
  const cases = [...table].map(([path, words]) => `    "${path}") echo "${words.join(" ")}" ;;`).join("\n");
  return `_berth_words() {
  case "$1" in
${cases}
  esac
}
_berth() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) continue ;; esac
    if [ -n "$(_berth_words "\${path:+$path }$word")" ]; then path="\${path:+$path }$word"; fi
  done
  case "$path:$cur" in
    *:-*) COMPREPLY=($(compgen -W "$(_berth_words "$path")" -- "$cur")) ;;
${namesOf(containers.any)}) COMPREPLY=($(compgen -W "$(berth ps -a --format '{{.Names}}' 2>/dev/null)" -- "$cur")) ;;
${namesOf(containers.running)}) COMPREPLY=($(compgen -W "$(berth ps --format '{{.Names}}' 2>/dev/null)" -- "$cur")) ;;
${namesOf(images)}) COMPREPLY=($(compgen -W "$(berth images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)" -- "$cur")) ;;
${namesOf(networks)}) COMPREPLY=($(compgen -W "$(berth network ls --format '{{.Name}}' 2>/dev/null)" -- "$cur")) ;;
${namesOf(volumes)}) COMPREPLY=($(compgen -W "$(berth volume ls -q 2>/dev/null)" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "$(_berth_words "$path")" -- "$cur")) ;;
  esac
}
complete -o default -F _berth berth
`;
}

function fishScript(table: Table): string {
  return [...table]
    .map(([path, words]) => {
      const condition = path === "" ? "__fish_use_subcommand" : `__fish_seen_subcommand_from ${path.split(" ").at(-1)}`;
      const plain = words.filter((word) => !word.startsWith("-"));
      const flags = words.filter((word) => word.startsWith("--"));
      const lines = plain.length > 0 ? [`complete -c berth -f -n '${condition}' -a '${plain.join(" ")}'`] : [];
      return [...lines, ...flags.map((name) => `complete -c berth -n '${condition}' -l ${name.slice(2)}`)].join("\n");
    })
    .join("\n")
    .concat("\n");
}
