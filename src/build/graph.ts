/** From a Dockerfile to the vertices that the solver works on: one for each instruction, stages side by side. */
import type { OpContext } from "../base/op-context.ts";
import { locate } from "../dockerfile/errors.ts";
import { expandWord } from "../dockerfile/expand-word.ts";
import { instructionSources } from "../dockerfile/instruction-sources.ts";
import type { Stage, StageInstruction } from "../dockerfile/instruction.ts";
import { findStage } from "../dockerfile/parse.ts";
import { parsePlatform } from "../images/platform.ts";
import type { Platform } from "../schema/image.ts";
import type { Build } from "./build-parts.ts";
import { buildErrors } from "./errors.ts";
import { beginStage, resolveImage } from "./execute/from.ts";
import type { NamedContexts } from "./named-contexts.ts";
import type { BuildOutput, StageOutput, StepOutput } from "./output.ts";
import type { StepState } from "./step-state.ts";
import { type BuildVertex, type StageLookup, stepVertex, telling, triggerVertices } from "./step-vertex.ts";

/** The image that is none. */
const scratch = "scratch";

/** A stage with everything in its FROM worked out. */
interface PlannedStage {
  readonly index: number;
  readonly stage: Stage;
  /** Number of the stage it starts from; undefined starts from an image. */
  readonly baseStage: number | undefined;
  readonly baseName: string;
  readonly platform: Platform | undefined;
  /** Its instructions; before those a directory's files, where it starts from one (or is one, by its name). */
  readonly instructions: readonly StageInstruction[];
}

/** Leaves out the stages that the target does not need. */
export function buildGraph(build: Build, output: BuildOutput): BuildVertex {
  const { dockerfile, request } = build;
  const target = request.target === "" ? dockerfile.stages.length - 1 : findStage(dockerfile.stages, request.target);
  if (target === undefined) throw buildErrors.BUILD_TARGET_NOT_FOUND({ target: request.target });
  const planned = dockerfile.stages.slice(0, target + 1).map((stage, index) => planStage(build, stage, index));
  const needed = neededStages(planned, target);
  const labels = labelInstructions(build);
  const instructionsOf = ({ index, instructions }: PlannedStage): readonly StageInstruction[] =>
    index === target ? [...instructions, ...labels] : instructions;
  const total = needed.reduce((sum, plan) => sum + 1 + instructionsOf(plan).length, dockerfile.metaArgs.length);
  output.metaArgs(dockerfile.metaArgs, total);
  let number = dockerfile.metaArgs.length;

  const ends = new Map<number, BuildVertex>();
  const addStage = (plan: PlannedStage, nextNumber: () => number): BuildVertex => {
    const { index, stage, baseName } = plan;
    const image = plan.baseStage === undefined && baseName !== scratch ? baseName : undefined;
    const told = output.stage(
      { index, name: stage.from.stageName, image, instructions: instructionsOf(plan) },
      needed.length > 1,
    );
    const step = (): StepOutput => told.step(nextNumber(), total);
    const base = plan.baseStage === undefined ? undefined : stageEnd(plan.baseStage);
    const stageOf: StageLookup = (name) => {
      const found = stageReference(planned, plan.index, name);
      return found === undefined ? undefined : stageEnd(found);
    };
    let last = fromVertex(build, plan, base, step(), stageOf);
    const own = isFresh(plan, request.noCacheStages) ? { ...build, request: { ...request, noCache: true } } : build;
    for (const instruction of instructionsOf(plan)) last = stepVertex(own, instruction, last, step(), stageOf);
    const end = endVertex(last, told);
    ends.set(plan.index, end);
    return end;
  };
  const stageEnd = (index: number): BuildVertex | undefined => {
    const known = ends.get(index);
    const plan = planned[index];
    // Only an ONBUILD trigger can come to need a stage that nobody foresaw; its steps have no numbers then.
    return known ?? (plan === undefined ? undefined : addStage(plan, () => 0));
  };
  const added = needed.map((plan) => addStage(plan, () => ++number));
  const last = added.at(-1);
  if (last === undefined) throw buildErrors.BUILD_TARGET_NOT_FOUND({ target: request.target });
  return last;
}

function planStage(build: Build, stage: Stage, index: number): PlannedStage {
  const { from } = stage;
  const expand = (word: string): string =>
    locate(from.position, () =>
      expandWord(word, { escape: build.dockerfile.escape, lookup: (name) => build.args.meta(name) }),
    );
  const baseName = expand(from.base);
  if (baseName === "") throw buildErrors.BUILD_BASE_BLANK({ base: from.base });
  const platformWord = expand(from.platform);
  const platform = platformWord === "" ? build.request.platform : parsePlatform(platformWord, build.platform);
  const plan = { index, stage, platform, baseStage: undefined };
  // A context of the stage's own name stands for all of it.
  const replacing = from.stageName === "" ? undefined : build.contexts.find(from.stageName);
  if (replacing !== undefined) return { ...plan, ...startFrom(replacing), instructions: filesOf(stage, replacing) };
  const named = findStage(build.dockerfile.stages.slice(0, index), baseName);
  // A number is an image's name here, unlike in COPY --from.
  if (named !== undefined && !/^\d+$/.test(baseName)) {
    return { ...plan, baseStage: named, baseName, instructions: stage.instructions };
  }
  const context = baseName === scratch ? undefined : build.contexts.find(baseName);
  if (context === undefined) return { ...plan, baseName, instructions: stage.instructions };
  return { ...plan, ...startFrom(context), instructions: [...filesOf(stage, context), ...stage.instructions] };
}

type FoundContext = NonNullable<ReturnType<NamedContexts["find"]>>;

function startFrom(context: FoundContext): { readonly baseName: string } {
  return { baseName: context.kind === "image" ? context.reference : scratch };
}

/** Copies a context of files as it is onto nothing. */
function filesOf({ from: { position } }: Stage, context: FoundContext): readonly StageInstruction[] {
  if (context.kind === "image") return [];
  return [
    {
      kind: "copy",
      text: `COPY --from=${context.name} / /`,
      position,
      sources: ["/"],
      inlineFiles: [],
      destination: "/",
      from: context.name,
      chown: "",
      chmod: "",
      link: false,
      parents: false,
      excludes: [],
      checksum: "",
      unpack: undefined,
      keepGitDir: false,
    },
  ];
}

/** Stages without a name go by their number, as BuildKit names them. */
function isFresh({ index, stage }: PlannedStage, names: readonly string[] = []): boolean {
  const own = stage.from.stageName === "" ? `stage-${index}` : stage.from.stageName;
  return names.some((name) => name.toLowerCase() === own);
}

/** The stages that `target` needs and itself, in the order of the file. */
function neededStages(planned: readonly PlannedStage[], target: number): readonly PlannedStage[] {
  const needed = new Set<number>();
  const pending = [target];
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    const plan = planned[index];
    if (plan === undefined || needed.has(index)) continue;
    needed.add(index);
    if (plan.baseStage !== undefined) pending.push(plan.baseStage);
    for (const instruction of plan.instructions) pending.push(...referencedStages(planned, index, instruction));
  }
  return planned.filter(({ index }) => needed.has(index));
}

function referencedStages(
  planned: readonly PlannedStage[],
  current: number,
  instruction: StageInstruction,
): readonly number[] {
  return instructionSources(instruction).flatMap((from) => stageReference(planned, current, from) ?? []);
}

/** The earlier stage that a name or number means; undefined when it means an image. */
function stageReference(planned: readonly PlannedStage[], current: number, from: string): number | undefined {
  const named = planned.slice(0, current).find(({ stage }) => stage.from.stageName === from.toLowerCase());
  if (named !== undefined) return named.index;
  if (!/^\d{1,9}$/.test(from)) return undefined;
  const number = Number(from);
  if (number === current)
    throw buildErrors.BUILD_STAGE_REFERENCE_INVALID({ from, reason: "refers to current build stage" });
  if (number > current) throw buildErrors.BUILD_STAGE_REFERENCE_INVALID({ from, reason: "index out of bounds" });
  return number;
}

function fromVertex(
  build: Build,
  plan: PlannedStage,
  base: BuildVertex | undefined,
  output: StepOutput,
  stageOf: StageLookup,
): BuildVertex {
  const { from } = plan.stage;
  return {
    name: from.text,
    inputs: base === undefined ? [] : [base],
    plan: telling(output, async (ctx, [before]) => {
      output.begin(from.text);
      const image = base === undefined ? await baseImage(ctx, build, plan, output) : before?.image;
      if (image !== undefined) {
        await build.keep(image.id);
        await build.parts.images.unpack(ctx, image, output.sink);
      }
      const { state, triggers } = beginStage(build, image, plan.platform ?? build.platform);
      const finish = (result: StepState): StepState => {
        output.end(result.image?.id ?? "");
        return result;
      };
      if (triggers.length === 0) return { kind: "done", result: finish(state) };
      output.line(`# Executing ${triggers.length} build trigger${triggers.length > 1 ? "s" : ""}`);
      return { kind: "expand", vertex: triggerVertices(build, triggers, state, output, stageOf), finish };
    }),
  };
}

async function baseImage(ctx: OpContext, build: Build, plan: PlannedStage, output: StepOutput) {
  if (plan.baseName === scratch) return undefined;
  return await resolveImage(ctx, build, plan.baseName, plan.platform, output.sink);
}

/** The stage is over: its image is announced, and the next stage may speak. */
function endVertex(last: BuildVertex, output: StageOutput): BuildVertex {
  return {
    name: `end of ${last.name}`,
    inputs: [last],
    plan: async (_ctx, [state]) => {
      if (state === undefined) throw buildErrors.BUILD_NO_IMAGE(undefined);
      output.end(state.image?.id);
      return { kind: "done", result: state };
    },
  };
}

/** `--label`s become LABEL instructions at the end of the target, in order of their names, with nothing expanded. */
function labelInstructions(build: Build): readonly StageInstruction[] {
  const position = { file: build.dockerfile.file, line: 1, endLine: 1 };
  const literal = (text: string): string => `'${text.replaceAll("'", `'"'"'`)}'`;
  return Object.entries(build.request.labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => ({
      kind: "label",
      text: `LABEL ${key}=${value}`,
      position,
      pairs: [{ key: literal(key), value: literal(value) }],
    }));
}
