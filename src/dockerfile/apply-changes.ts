import { isBerthError } from "../base/errors.ts";
import type { ImageRunConfig } from "../schema/image.ts";
import { applyConfigInstruction, type ConfigState } from "./config-instruction.ts";
import { dockerfileErrors } from "./errors.ts";
import { expandInstruction, lookupEnv } from "./expand-instruction.ts";
import type { ConfigInstruction, EscapeCharacter, Instruction } from "./instruction.ts";
import { parseInstruction } from "./parse-instruction.ts";
import { readSourceLines } from "./source-lines.ts";

/**
 * Applies Dockerfile instructions to an image's run configuration, as `docker commit --change` and `docker import --change` do.
 * Allowed: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR.
 * Throws `DOCKERFILE_CHANGE_INVALID` naming the instruction otherwise.
 */
export function applyChanges(config: ImageRunConfig, changes: readonly string[]): ImageRunConfig {
  if (changes.length === 0) return config;
  let state: ConfigState = { config, cmdSet: false, author: "" };
  for (const change of changes) {
    try {
      // One entry may hold several instructions, on a line each.
      const source = readSourceLines(change, "change");
      for (const line of source.lines) state = applyChange(state, parseInstruction(line, source.escape), source.escape);
    } catch (error) {
      if (!isBerthError(error, "DOCKERFILE_INVALID", "DOCKERFILE_SYNTAX", "DOCKERFILE_EMPTY")) throw error;
      const reason = error.message.replace(/^failed to parse change: dockerfile parse error on line \d+: /, "");
      throw dockerfileErrors.DOCKERFILE_CHANGE_INVALID({ change, reason }, { cause: error });
    }
  }
  return state.config;
}

export type ApplyChanges = typeof applyChanges;

function applyChange(state: ConfigState, instruction: Instruction, escape: EscapeCharacter): ConfigState {
  switch (instruction.kind) {
    case "from":
    case "run":
    case "copy":
    case "add":
    case "arg":
    case "maintainer":
    case "shell":
      throw dockerfileErrors.DOCKERFILE_SYNTAX({
        reason: `${instruction.kind.toUpperCase()} is not a valid change command`,
      });
    default: {
      const env = state.config.Env ?? [];
      const expanded: ConfigInstruction = expandInstruction(instruction, {
        escape,
        lookup: (name) => lookupEnv(env, name),
      });
      return applyConfigInstruction(state, expanded);
    }
  }
}
