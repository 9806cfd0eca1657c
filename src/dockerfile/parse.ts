import { dockerfileErrors, locate, syntaxError } from "./errors.ts";
import type {
  ArgInstruction,
  Dockerfile,
  FromInstruction,
  Instruction,
  Stage,
  StageInstruction,
} from "./instruction.ts";
import { parseInstruction } from "./parse-instruction.ts";
import { readSourceLines } from "./source-lines.ts";

/** Parses a whole Dockerfile. `file` is its name, for errors (`DOCKERFILE_INVALID`, `DOCKERFILE_EMPTY`). */
export function parseDockerfile(text: string, file = "Dockerfile"): Dockerfile {
  const source = readSourceLines(text, file);
  const metaArgs: ArgInstruction[] = [];
  const stages: { readonly from: FromInstruction; readonly instructions: StageInstruction[] }[] = [];
  for (const line of source.lines) {
    locate(line.position, () => {
      const instruction = parseInstruction(line, source.escape);
      const stage = stages.at(-1);
      if (instruction.kind === "from") {
        if (instruction.stageName !== "" && stages.some(({ from }) => from.stageName === instruction.stageName)) {
          syntaxError(`${instruction.stageName} stage name already used`);
        }
        stages.push({ from: instruction, instructions: [] });
      } else if (stage !== undefined) stage.instructions.push(instruction);
      else if (instruction.kind === "arg") metaArgs.push(instruction);
      else syntaxError("no build stage in current context");
    });
  }
  if (stages.length === 0) {
    const last = source.lines.at(-1);
    throw dockerfileErrors.DOCKERFILE_INVALID({
      file,
      line: last?.position.line ?? 1,
      reason: "no FROM: a Dockerfile needs at least one build stage",
    });
  }
  return { file, escape: source.escape, metaArgs, stages, warnings: source.warnings };
}

/** Parses a single instruction: an ONBUILD trigger, a `--change`. */
export function parseSingleInstruction(text: string, file: string): Instruction {
  const source = readSourceLines(text, file);
  const [line, ...more] = source.lines;
  if (line === undefined || more.length > 0) syntaxError("expected a single instruction");
  return locate(line.position, () => parseInstruction(line, source.escape));
}

/** Index of the stage that `target` names, by name or number; undefined when there is none. */
export function findStage(stages: readonly Stage[], target: string): number | undefined {
  const named = stages.findIndex(({ from }) => from.stageName !== "" && from.stageName === target.toLowerCase());
  if (named >= 0) return named;
  if (!/^\d{1,9}$/.test(target)) return undefined;
  return Number(target) < stages.length ? Number(target) : undefined;
}
