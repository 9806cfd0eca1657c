/** Variables in the instructions that take them. What RUN runs, CMD, ENTRYPOINT, HEALTHCHECK, SHELL and ONBUILD are left to the shell, or to later. */
import { locate } from "./errors.ts";
import { type ExpandOptions, expandWord, expandWords } from "./expand-word.ts";
import type { CopyInstruction, EscapeCharacter, StageInstruction } from "./instruction.ts";

export interface ExpandScope {
  readonly escape: EscapeCharacter;
  /** The environment so far, then the build arguments. */
  readonly lookup: (name: string) => string | undefined;
}

/** All variables of one instruction see the environment before it. */
export function expandInstruction<T extends StageInstruction>(instruction: T, scope: ExpandScope): T;
export function expandInstruction(instruction: StageInstruction, scope: ExpandScope): StageInstruction {
  return locate(instruction.position, () => expand(instruction, scope));
}

function expand(instruction: StageInstruction, scope: ExpandScope): StageInstruction {
  const options: ExpandOptions = scope;
  const word = (text: string): string => expandWord(text, options);
  switch (instruction.kind) {
    case "env":
    case "label":
      return {
        ...instruction,
        pairs: instruction.pairs.map(({ key, value }) => ({ key: word(key), value: word(value) })),
      };
    case "arg":
      return {
        ...instruction,
        args: instruction.args.map(({ name, value }) => ({
          name: word(name),
          value: value === undefined ? undefined : word(value),
        })),
      };
    case "user":
    case "workdir":
    case "stopsignal":
      return { ...instruction, value: word(instruction.value) };
    case "volume":
      return { ...instruction, paths: instruction.paths.map(word) };
    case "expose":
      // The one instruction where a variable may hold several words.
      return { ...instruction, ports: instruction.ports.flatMap((port) => expandWords(port, options)) };
    case "copy":
    case "add":
      return expandCopy(instruction, options);
    case "run":
      return {
        ...instruction,
        mounts: instruction.mounts.map((mount) =>
          mount.map((field) => (field.value === undefined ? field : { ...field, value: word(field.value) })),
        ),
      };
    case "cmd":
    case "entrypoint":
    case "healthcheck":
    case "shell":
    case "onbuild":
    case "maintainer":
      return instruction;
  }
}

function expandCopy(instruction: CopyInstruction, options: ExpandOptions): CopyInstruction {
  const word = (text: string): string => expandWord(text, options);
  return {
    ...instruction,
    sources: instruction.sources.map(word),
    destination: word(instruction.destination),
    chown: word(instruction.chown),
    chmod: word(instruction.chmod),
    checksum: word(instruction.checksum),
    excludes: instruction.excludes.map(word),
    inlineFiles: instruction.inlineFiles.map((file) =>
      file.expand ? { ...file, content: expandWord(file.content, { ...options, plainQuotes: true }) } : file,
    ),
  };
}

/** The value of `name` in a list of "NAME=value". */
export function lookupEnv(env: readonly string[], name: string): string | undefined {
  return env.find((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1);
}
