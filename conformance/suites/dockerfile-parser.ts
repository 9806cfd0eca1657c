/** BuildKit's cases for its Dockerfile parser, against `src/dockerfile`, in this process. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../src/base/errors.ts";
import type { EscapeCharacter } from "../../src/dockerfile/instruction.ts";
import { parseDockerfile } from "../../src/dockerfile/parse.ts";
import { parseInstruction } from "../../src/dockerfile/parse-instruction.ts";
import { type InstructionLine, readSourceLines } from "../../src/dockerfile/source-lines.ts";
import { parseJsonWords, splitInstruction, splitPlainWords, splitQuotedWords } from "../../src/dockerfile/words.ts";
import { findSource } from "../sources.ts";
import type { CaseResult, Suite } from "../suite.ts";

const parserDirectory = "frontend/dockerfile/parser";

export const dockerfileParser: Suite = {
  name: "dockerfile-parser",
  about:
    "BuildKit's parser cases (`frontend/dockerfile/parser/testfiles`): the tree that our parser makes of each, printed as BuildKit prints its own, must equal the `result` file beside it; the negative ones must be refused.",
  needs: [],
  engine: false,
  fetch: async (request) =>
    await findSource(
      "dockerfile-parser",
      {
        holds: join(parserDirectory, "testfiles"),
        keptVersion: "26.1.5+dfsg1",
        debian: [{ package: "docker.io", tarball: "orig-buildkit" }],
      },
      request,
    ),
  images: async () => [],
  run: async ({ source, only }) => {
    const directory = join(source.directory, parserDirectory);
    const cases: CaseResult[] = [];
    const check = async (name: string, body: () => Promise<void>) => {
      if (only.length > 0 && !only.some((part) => name.includes(part))) return;
      cases.push(await outcome(name, body));
    };
    for (const name of (await readdir(join(directory, "testfiles"))).sort()) {
      await check(name, async () => {
        const text = await readFile(join(directory, "testfiles", name, "Dockerfile"), "utf8");
        same(dump(text), (await readFile(join(directory, "testfiles", name, "result"), "utf8")).trimEnd());
      });
    }
    for (const name of (await readdir(join(directory, "testfiles-negative"))).sort()) {
      await check(`negative: ${name}`, async () => {
        refused(await readFile(join(directory, "testfiles-negative", name, "Dockerfile"), "utf8"));
      });
    }
    await check("line numbers", async () => {
      const text = await readFile(join(directory, "testfile-line/Dockerfile"), "utf8");
      const lines = readSourceLines(text, "Dockerfile").lines.map(
        ({ position }) => `{${position.line}, ${position.endLine}}`,
      );
      same(lines.join("\n"), await expectedLines(join(directory, "parser_test.go")));
    });
    return cases;
  },
};

async function outcome(name: string, body: () => Promise<void>): Promise<CaseResult> {
  try {
    await body();
    return { name, outcome: "passed" };
  } catch (error) {
    return { name, outcome: "failed", detail: messageOf(error) };
  }
}

function same(actual: string, expected: string): void {
  if (actual === expected) return;
  const theirs = expected.split("\n");
  const ours = actual.split("\n");
  const at = theirs.findIndex((line, index) => line !== ours[index]);
  const index = at < 0 ? theirs.length : at;
  throw new Error(`line ${index + 1}: expected ${theirs[index] ?? "no more"}, got ${ours[index] ?? "no more"}`);
}

function refused(text: string): void {
  try {
    parseDockerfile(text);
  } catch {
    return;
  }
  throw new Error("not refused");
}

/** The lines of each instruction, as their own test has them in its source. */
async function expectedLines(file: string): Promise<string> {
  const [, body = ""] = /expected := \[\]\[\]int\{\n([^]*?)\n\t\}/.exec(await readFile(file, "utf8")) ?? [];
  return [...body.matchAll(/\{\d+, \d+\}/g)].map(([pair]) => pair).join("\n");
}

/** The Dockerfile's tree as BuildKit prints it: `(copy ["--chown=me"] "a" "/b")`, a line for each instruction. */
function dump(text: string): string {
  const { lines, escape } = readSourceLines(text, "Dockerfile");
  return lines.map((line) => `(${dumpInstruction(line, escape)})`).join("\n");
}

function dumpInstruction(line: InstructionLine, escape: EscapeCharacter): string {
  const { keyword, flags, rest } = splitInstruction(line.text, escape);
  const name = keyword.toLowerCase();
  const shownFlags = flags.length === 0 ? [] : [`[${flags.map(goQuote).join(" ")}]`];
  if (name === "onbuild") return `onbuild (${dumpInstruction({ ...line, text: rest }, escape)})`;
  return [name, ...shownFlags, ...argumentsOf(name, rest, line, escape).map(goQuote)].join(" ");
}

/** The arguments, unexpanded. What the parser proper leaves to the next stage (which flags there are, say) is not looked at. */
function argumentsOf(name: string, rest: string, line: InstructionLine, escape: EscapeCharacter): readonly string[] {
  switch (name) {
    case "env":
    case "label": {
      const instruction = parseInstruction(line, escape);
      if (instruction.kind !== "env" && instruction.kind !== "label")
        throw new Error(`${name} is a ${instruction.kind}`);
      return instruction.pairs.flatMap(({ key, value }) => [key, value]);
    }
    case "arg":
      return splitQuotedWords(rest, escape);
    case "add":
    case "copy":
    case "volume":
      return parseJsonWords(rest) ?? splitPlainWords(rest);
    case "from":
    case "expose":
      return splitPlainWords(rest);
    case "healthcheck": {
      const [, type = "", check = ""] = /^(\S*)\s*([^]*)$/.exec(rest) ?? [];
      return [type, ...commandWords(check)].filter((word) => word !== "");
    }
    case "run":
    case "cmd":
    case "entrypoint":
    case "shell":
      return commandWords(rest);
    default:
      return rest === "" ? [] : [rest];
  }
}

function commandWords(text: string): readonly string[] {
  return parseJsonWords(text) ?? (text === "" ? [] : [text]);
}

/** Go's strconv.Quote. */
function goQuote(text: string): string {
  const short: Readonly<Record<string, string>> = {
    "\u0007": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
  };
  const quoted = text.replace(
    /[\p{Cc}"\\]/gu,
    (character) => short[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${quoted}"`;
}
