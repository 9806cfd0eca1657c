import type { FakeProcess, FakeProgram } from "./fake-process.ts";

/**
 * The commands that a fake machine knows. `sh -c` runs `;`-separated simple commands of this table, with `>&2`,
 * `exit N`, `kill -N $$` and `trap 'exit N' NAME`: enough for the contract suite to run the same lines on the real thing.
 */
export function standardPrograms(): Map<string, FakeProgram> {
  return new Map<string, FakeProgram>([
    ["true", async () => 0],
    ["false", async () => 1],
    ["echo", async (p) => print(p, p.argv.slice(1))],
    ["sleep", async (p) => sleep(p, p.argv[1])],
    ["cat", cat],
    ["env", async (p) => print(p, [p.env.join("\n")])],
    ["sh", async (p) => (p.argv[1] === "-c" ? await runScript(p, p.argv[2] ?? "") : await cat(p))],
  ]);
}

const signalNumbers: Readonly<Record<string, number>> = { HUP: 1, INT: 2, QUIT: 3, USR1: 10, TERM: 15 };

function print(process: FakeProcess, words: readonly string[], stream: "stdout" | "stderr" = "stdout"): number {
  process.write(stream, `${words.join(" ")}${process.tty ? "\r\n" : "\n"}`);
  return 0;
}

async function sleep(process: FakeProcess, seconds: string | undefined): Promise<number> {
  await process.sleep(Math.min(Number(seconds ?? "0") * 1000, 2 ** 30));
  return 0;
}

async function cat(process: FakeProcess): Promise<number> {
  for await (const chunk of process.stdin) process.write("stdout", chunk);
  return 0;
}

async function runScript(process: FakeProcess, script: string): Promise<number> {
  let code = 0;
  for (const command of script.split(";").map((text) => text.trim())) {
    if (command === "") continue;
    const [name = "", ...words] = command.split(/\s+/);
    const toStderr = words.at(-1) === ">&2";
    const args = (toStderr ? words.slice(0, -1) : words).map((word) => word.replaceAll(/^['"]|['"]$/g, ""));
    switch (name) {
      case "exit":
        return Number(args[0] ?? code);
      case "echo":
        code = print(process, args, toStderr ? "stderr" : "stdout");
        break;
      case "sleep":
        code = await sleep(process, args[0]);
        break;
      case "cat":
        code = await cat(process);
        break;
      case "kill":
        process.signal(Number((args[0] ?? "-15").slice(1)));
        break;
      case "trap": {
        const match = /^trap 'exit (\d+)' (\w+)$/.exec(command);
        if (match !== null) process.onSignal(signalNumbers[match[2] ?? ""] ?? 0, () => process.exit(Number(match[1])));
        break;
      }
      case "true":
      case "wait":
        code = 0;
        break;
      default:
        print(process, [`sh: ${name}: not found`], "stderr");
        code = 127;
    }
  }
  return code;
}
