import type { StageInstruction } from "./instruction.ts";
import { mountSource } from "./run-mount.ts";

/** Stages and images that an instruction takes files from (`COPY --from`, `RUN --mount=from=`), each once. Not the build context. */
export function instructionSources(instruction: StageInstruction): readonly string[] {
  switch (instruction.kind) {
    case "copy":
    case "add":
      return instruction.from === "" ? [] : [instruction.from];
    case "run":
      return [...new Set(instruction.mounts.map(mountSource))].filter((from) => from !== "");
    default:
      return [];
  }
}
