import type { OpContext } from "../../base/op-context.ts";
import type { StageInstruction } from "../../dockerfile/instruction.ts";
import type { ImageLayer } from "../../schema/image.ts";
import type { Build } from "../build-parts.ts";
import type { StepOutput } from "../output.ts";
import type { StepState } from "../step-state.ts";

/** What an instruction is about to do: enough to look it up in the cache, and how to do it when it is not there. */
export interface StepPlan {
  /** The state after it, but for its image. */
  readonly next: StepState;
  /** History's text. It holds digests of copied files, so that it is a part of the step's cache key. */
  readonly createdBy: string;
  /** What else the result depends on. */
  readonly extraKey?: unknown;
  /** Makes the step's layer; absent when it only changes the configuration. Undefined is "nothing changed". */
  makeLayer?(ctx: OpContext): Promise<ImageLayer | undefined>;
}

/** Where an instruction's files may come from. */
export interface StepSources {
  readonly build: Build;
  /** The ends of the stages that the instruction names, by the names it has for them; what else it names is an image. */
  readonly stages: ReadonlyMap<string, StepState>;
}

/** What planning an instruction takes. The instruction's variables are expanded. */
export interface StepInput<I extends StageInstruction> extends StepSources {
  readonly instruction: I;
  readonly state: StepState;
  readonly output: StepOutput;
}
