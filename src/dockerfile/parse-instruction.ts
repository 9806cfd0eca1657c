/** One logical line to one instruction. Reasons are worded as Docker words them, for people search for them. */
import { didYouMean } from "./did-you-mean.ts";
import { parseGoDuration } from "./go-format.ts";
import { syntaxError } from "./errors.ts";
import { parseFlags } from "./flags.ts";
import { inlineFile, parseHeredocWord } from "./heredoc.ts";
import type {
  CommandLine,
  CopyInstruction,
  EscapeCharacter,
  FromInstruction,
  HealthcheckInstruction,
  Heredoc,
  Instruction,
  KeyValue,
  OnbuildInstruction,
  RunInstruction,
} from "./instruction.ts";
import { isPlainMount, parseMount, splitMount } from "./run-mount.ts";
import type { InstructionLine } from "./source-lines.ts";
import { parseJsonWords, splitInstruction, splitPlainWords, splitQuotedWords } from "./words.ts";

/** Throws `DOCKERFILE_SYNTAX`; the caller knows the line. */
export function parseInstruction(line: InstructionLine, escape: EscapeCharacter): Instruction {
  const { keyword, flags, rest } = splitInstruction(line.text, escape);
  const input: Input = { keyword: keyword.toUpperCase(), flags, rest, line, escape };
  const base = { text: line.text, position: line.position };
  switch (input.keyword) {
    case "FROM":
      return parseFrom(input);
    case "RUN":
      return parseRun(input);
    case "COPY":
    case "ADD":
      return parseCopy(input);
    case "ONBUILD":
      return parseOnbuild(input);
    case "HEALTHCHECK":
      return parseHealthcheck(input);
    case "ARG":
      return { ...base, kind: "arg", args: parseArgs(input) };
    case "CMD":
    case "ENTRYPOINT":
      noFlags(input);
      return { ...base, kind: input.keyword === "CMD" ? "cmd" : "entrypoint", command: parseCommandLine(rest) };
    case "ENV":
    case "LABEL":
      noFlags(input);
      return { ...base, kind: input.keyword === "ENV" ? "env" : "label", pairs: parsePairs(input) };
    case "EXPOSE":
      noFlags(input);
      return { ...base, kind: "expose", ports: [...atLeastOne(input, splitPlainWords(rest))].sort() };
    case "VOLUME": {
      noFlags(input);
      const paths = atLeastOne(input, parseJsonWords(rest) ?? splitPlainWords(rest)).map((path) => path.trim());
      if (paths.includes("")) syntaxError("VOLUME specified can not be an empty string");
      return { ...base, kind: "volume", paths };
    }
    case "SHELL": {
      noFlags(input);
      const shell = parseJsonWords(rest);
      if (rest === "" || shell?.length === 0) syntaxError("SHELL requires at least one argument");
      if (shell === undefined) syntaxError(`SHELL requires the arguments to be in JSON form: ${line.text}`);
      return { ...base, kind: "shell", shell };
    }
    case "MAINTAINER":
      return { ...base, kind: "maintainer", value: exactlyOne(input) };
    case "USER":
      return { ...base, kind: "user", value: exactlyOne(input) };
    case "WORKDIR":
      return { ...base, kind: "workdir", value: exactlyOne(input) };
    case "STOPSIGNAL":
      return { ...base, kind: "stopsignal", value: exactlyOne(input) };
    default:
      return syntaxError(`unknown instruction: ${keyword}${didYouMean(keyword, keywords)}`);
  }
}

const keywords = [
  "ADD",
  "ARG",
  "CMD",
  "COPY",
  "ENTRYPOINT",
  "ENV",
  "EXPOSE",
  "FROM",
  "HEALTHCHECK",
  "LABEL",
  "MAINTAINER",
  "ONBUILD",
  "RUN",
  "SHELL",
  "STOPSIGNAL",
  "USER",
  "VOLUME",
  "WORKDIR",
];

interface Input {
  /** Upper case. */
  readonly keyword: string;
  readonly flags: readonly string[];
  readonly rest: string;
  readonly line: InstructionLine;
  readonly escape: EscapeCharacter;
}

function parseFrom(input: Input): FromInstruction {
  const words = splitPlainWords(input.rest);
  const [base, as, name] = words;
  if (base === undefined || (words.length !== 1 && (words.length !== 3 || as?.toLowerCase() !== "as"))) {
    syntaxError("FROM requires either one or three arguments");
  }
  const stageName = (name ?? "").toLowerCase();
  if (name !== undefined && !/^[a-z][a-z0-9_.-]*$/.test(stageName)) {
    syntaxError(
      `invalid name for build stage: ${JSON.stringify(name)}, name can't start with a number or contain symbols`,
    );
  }
  const flags = parseFlags(input.flags, { platform: "text" });
  return {
    kind: "from",
    text: input.line.text,
    position: input.line.position,
    base,
    platform: flags.text("platform"),
    stageName,
  };
}

function parseRun(input: Input): RunInstruction {
  const flags = parseFlags(input.flags, { mount: "list", network: "text", security: "text", device: "list" });
  const command = parseCommandLine(input.rest);
  if (command.form === "shell" ? command.line === "" : command.words.length === 0) {
    syntaxError("RUN requires at least one argument");
  }
  const network = flags.text("network");
  if (!["", "default", "none", "host"].includes(network))
    syntaxError(`invalid network mode ${JSON.stringify(network)}`);
  const mounts = flags.list("mount").map(splitMount);
  // Found now rather than when all steps before it have run.
  for (const mount of mounts) if (isPlainMount(mount)) parseMount(mount);
  return {
    kind: "run",
    text: input.line.text,
    position: input.line.position,
    command,
    heredocs: input.line.heredocs,
    network,
    mounts,
    buildKitFlags: flags.given.filter((name) => name !== "network" && name !== "mount"),
  };
}

function parseCopy(input: Input): CopyInstruction {
  const kind = input.keyword === "ADD" ? "add" : "copy";
  const words = parseJsonWords(input.rest) ?? splitPlainWords(input.rest);
  const destination = words.at(-1);
  if (words.length < 2 || destination === undefined) {
    syntaxError(
      `${input.keyword} requires at least two arguments, but only one was provided. Destination could not be determined`,
    );
  }
  if (parseHeredocWord(destination) !== undefined)
    syntaxError(`${input.keyword} cannot accept a heredoc as a destination`);
  const common = { chown: "text", chmod: "text", link: "boolean", exclude: "list" } as const;
  const flags = parseFlags(
    input.flags,
    kind === "add"
      ? { ...common, checksum: "text", unpack: "boolean", "keep-git-dir": "boolean" }
      : { ...common, from: "text", parents: "boolean" },
  );
  const { sources, inlineFiles } = splitSources(words.slice(0, -1), input.line.heredocs);
  return {
    kind,
    text: input.line.text,
    position: input.line.position,
    sources,
    inlineFiles,
    destination,
    from: flags.text("from"),
    chown: flags.text("chown"),
    chmod: flags.text("chmod"),
    link: flags.boolean("link") ?? false,
    parents: flags.boolean("parents") ?? false,
    excludes: flags.list("exclude"),
    checksum: flags.text("checksum"),
    unpack: flags.boolean("unpack"),
    keepGitDir: flags.boolean("keep-git-dir") ?? false,
  };
}

function splitSources(
  words: readonly string[],
  heredocs: readonly Heredoc[],
): Pick<CopyInstruction, "sources" | "inlineFiles"> {
  const sources: string[] = [];
  const inlineFiles: CopyInstruction["inlineFiles"][number][] = [];
  for (const word of words) {
    const opening = parseHeredocWord(word);
    const heredoc = heredocs.find((candidate) => candidate.name === opening?.name);
    if (heredoc === undefined) sources.push(word);
    else inlineFiles.push(inlineFile(heredoc));
  }
  return { sources, inlineFiles };
}

function parseOnbuild(input: Input): OnbuildInstruction {
  noFlags(input);
  const trigger = splitInstruction(input.rest, input.escape).keyword.toUpperCase();
  switch (trigger) {
    case "":
      return syntaxError("ONBUILD requires at least one argument");
    case "ONBUILD":
      return syntaxError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    case "MAINTAINER":
    case "FROM":
      return syntaxError(`${trigger} isn't allowed as an ONBUILD trigger`);
  }
  // Found now rather than in the first build from the image.
  parseInstruction({ ...input.line, text: input.rest }, input.escape);
  const heredocs = input.line.heredocs.map((heredoc) => `\n${heredoc.content}${heredoc.name}`);
  return {
    kind: "onbuild",
    text: input.line.text,
    position: input.line.position,
    trigger: input.rest + heredocs.join(""),
  };
}

function parseHealthcheck(input: Input): HealthcheckInstruction {
  const base = { kind: "healthcheck", text: input.line.text, position: input.line.position } as const;
  const match = /^(\S+)\s*([\s\S]*)$/.exec(input.rest);
  if (match === null) syntaxError("HEALTHCHECK requires at least one argument");
  const [, type = "", rest = ""] = match;
  switch (type.toUpperCase()) {
    case "NONE":
      noFlags(input);
      if (rest !== "") syntaxError("HEALTHCHECK NONE takes no arguments");
      return { ...base, check: { Test: ["NONE"] } };
    case "CMD":
      break;
    default:
      syntaxError(`Unknown type ${JSON.stringify(type.toUpperCase())} in HEALTHCHECK (try CMD)`);
  }
  const flags = parseFlags(input.flags, {
    interval: "text",
    timeout: "text",
    "start-period": "text",
    "start-interval": "text",
    retries: "text",
  });
  const words = parseJsonWords(rest);
  if (rest === "" || words?.length === 0) syntaxError("Missing command after HEALTHCHECK CMD");
  const retries = flags.text("retries");
  if (!/^\d{0,9}$/.test(retries)) syntaxError(`--retries must be a whole number that is not negative, not ${retries}`);
  return {
    ...base,
    check: {
      Test: words === undefined ? ["CMD-SHELL", rest] : ["CMD", ...words],
      ...interval("Interval", flags.text("interval")),
      ...interval("Timeout", flags.text("timeout")),
      ...interval("StartPeriod", flags.text("start-period")),
      ...interval("StartInterval", flags.text("start-interval")),
      ...(Number(retries) > 0 && { Retries: Number(retries) }),
    },
  };
}

function interval(field: string, text: string): Record<string, number> {
  if (text === "") return {};
  const nanoseconds = parseGoDuration(text);
  if (nanoseconds === undefined) syntaxError(`time: invalid duration ${JSON.stringify(text)}`);
  if (nanoseconds === 0) return {};
  if (nanoseconds < 1_000_000) syntaxError(`Interval "${field}" cannot be less than 1ms`);
  return { [field]: nanoseconds };
}

function parseArgs(input: Input): readonly { readonly name: string; readonly value: string | undefined }[] {
  noFlags(input);
  return atLeastOne(input, splitQuotedWords(input.rest, input.escape)).map((word) => {
    const equals = word.indexOf("=");
    if (equals === 0) syntaxError("ARG names can not be blank");
    return equals < 0
      ? { name: word, value: undefined }
      : { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
}

/** `NAME=value …`, or the old form `NAME the rest of the line`. */
function parsePairs(input: Input): readonly KeyValue[] {
  const words = splitQuotedWords(input.rest, input.escape);
  if (!atLeastOne(input, words)[0]?.includes("=")) {
    const match = /^(\S+)\s+([\s\S]+)$/.exec(input.rest);
    if (match === null) syntaxError(`${input.keyword} must have two arguments`);
    return [{ key: match[1] ?? "", value: match[2] ?? "" }];
  }
  return words.map((word) => {
    const equals = word.indexOf("=");
    if (equals < 0) {
      syntaxError(`Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`);
    }
    if (equals === 0) syntaxError(`${input.keyword} names can not be blank`);
    return { key: word.slice(0, equals), value: word.slice(equals + 1) };
  });
}

function parseCommandLine(text: string): CommandLine {
  const words = parseJsonWords(text);
  return words === undefined ? { form: "shell", line: text } : { form: "exec", words };
}

function noFlags(input: Input): void {
  parseFlags(input.flags, {});
}

function atLeastOne(input: Input, words: readonly string[]): readonly string[] {
  return words.length > 0 ? words : syntaxError(`${input.keyword} requires at least one argument`);
}

function exactlyOne(input: Input): string {
  noFlags(input);
  return input.rest === "" ? syntaxError(`${input.keyword} requires exactly one argument`) : input.rest;
}
