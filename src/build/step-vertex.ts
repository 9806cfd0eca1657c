/** One instruction as a vertex of the build's graph. */
import type { OpContext } from "../base/op-context.ts";
import { isBerthError } from "../base/errors.ts";
import { expandInstruction, lookupEnv } from "../dockerfile/expand-instruction.ts";
import { instructionSources } from "../dockerfile/instruction-sources.ts";
import type { StageInstruction } from "../dockerfile/instruction.ts";
import { parseSingleInstruction } from "../dockerfile/parse.ts";
import type { ImageRecord } from "../schema/image.ts";
import { cacheKey } from "./build-cache.ts";
import type { Build } from "./build-parts.ts";
import { findInCacheSources } from "./cache-source.ts";
import { buildErrors } from "./errors.ts";
import { planArg, planConfig } from "./execute/config.ts";
import { planCopy } from "./execute/copy.ts";
import { planRun } from "./execute/run.ts";
import type { StepInput, StepPlan } from "./execute/step-plan.ts";
import type { StepOutput } from "./output.ts";
import type { Plan, Vertex } from "./solver.ts";
import { createStepImage, envOf, type StepState, stateKey } from "./step-state.ts";

/** The cache keeps the id of the image that a step led to. */
export type BuildVertex = Vertex<StepState, string>;

/** The end of the stage that a `from` names; undefined when it names an image. */
export type StageLookup = (nameOrNumber: string) => BuildVertex | undefined;

/** Changes when the same instruction on the same state would give another result than an older Berth's. */
const keyVersion = 1;

export function stepVertex(
  build: Build,
  instruction: StageInstruction,
  previous: BuildVertex,
  output: StepOutput,
  stageOf: StageLookup,
): BuildVertex {
  const others = instructionSources(instruction).flatMap((name) => {
    const end = stageOf(name);
    return end === undefined ? [] : [{ name, end }];
  });
  return {
    name: instruction.text,
    inputs: [previous, ...others.map(({ end }) => end)],
    plan: telling(output, async (ctx, [state, ...ends]) => {
      if (state === undefined) throw buildErrors.BUILD_NO_IMAGE(undefined);
      output.begin(instruction.text);
      const stages = new Map(
        others.flatMap(({ name }, index) => {
          const end = ends[index];
          return end === undefined ? [] : [[name, end] as const];
        }),
      );
      return await planStep(ctx, build, instruction, state, output, stages);
    }),
  };
}

/** The step's own failure, told as such: the build's error is only the first of those that stages side by side may have. */
export function telling(output: StepOutput, plan: BuildVertex["plan"]): BuildVertex["plan"] {
  const told = async <T>(ctx: OpContext, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (ctx.signal.aborted) output.cancelled();
      else output.failed(error);
      throw error;
    }
  };
  return async (ctx, inputs) => {
    const planned = await told(ctx, () => plan(ctx, inputs));
    if (planned.kind !== "run") return planned;
    return {
      ...planned,
      restore: (ctx, cached) => told(ctx, () => planned.restore(ctx, cached)),
      run: (ctx) => told(ctx, () => planned.run(ctx)),
    };
  };
}

/** The vertices of an image's ONBUILD triggers, one behind the other, on the state at the beginning of the stage. */
export function triggerVertices(
  build: Build,
  triggers: readonly string[],
  state: StepState,
  output: StepOutput,
  stageOf: StageLookup,
): BuildVertex {
  const start: BuildVertex = { name: "ONBUILD", inputs: [], plan: async () => ({ kind: "done", result: state }) };
  return triggers.reduce<BuildVertex>((previous, trigger) => {
    const instruction = parseSingleInstruction(trigger, "ONBUILD trigger");
    if (instruction.kind === "from") throw buildErrors.BUILD_NEEDS_BUILDKIT({ what: "FROM as an ONBUILD trigger" });
    return stepVertex(build, instruction, previous, output.trigger(), stageOf);
  }, start);
}

async function planStep(
  ctx: OpContext,
  build: Build,
  instruction: StageInstruction,
  state: StepState,
  output: StepOutput,
  stages: ReadonlyMap<string, StepState>,
): Promise<Plan<StepState, string>> {
  const expanded = expandInstruction(instruction, {
    escape: build.dockerfile.escape,
    lookup: (name) => lookupEnv(envOf(state), name) ?? state.args.get(name),
  });
  const plan = await planInstruction(ctx, {
    build,
    instruction: expanded,
    state,
    output,
    stages,
  });
  const finish = (image: ImageRecord): StepState => {
    output.end(image.id);
    return { ...plan.next, image };
  };
  return {
    kind: "run",
    key: cacheKey({
      version: keyVersion,
      before: stateKey(state),
      after: stateKey(plan.next),
      createdBy: plan.createdBy,
      extra: plan.extraKey ?? null,
    }),
    restore: async (ctx, imageId) => {
      if (build.request.noCache) return undefined;
      const image = findImage(build, imageId);
      if (image === undefined) return undefined;
      await build.keep(image.id);
      await build.parts.images.unpack(ctx, image);
      output.usingCache();
      return finish(image);
    },
    run: async (ctx) => {
      const known = await findInCacheSources(ctx, build, state, plan.createdBy);
      if (known !== undefined) output.usingCache();
      const layer = known === undefined ? await plan.makeLayer?.(ctx) : known.layer;
      const { image } = await createStepImage(ctx, build.parts, plan.next, { createdBy: plan.createdBy, layer });
      await build.keep(image.id);
      return { result: finish(image), cached: image.id };
    },
  };
}

async function planInstruction(ctx: OpContext, input: StepInput<StageInstruction>): Promise<StepPlan> {
  const { instruction } = input;
  switch (instruction.kind) {
    case "run":
      return await planRun(ctx, { ...input, instruction });
    case "copy":
    case "add":
      return await planCopy(ctx, { ...input, instruction });
    case "arg":
      return planArg({ ...input, instruction });
    default:
      return planConfig({ ...input, instruction });
  }
}

function findImage(build: Build, imageId: string): ImageRecord | undefined {
  try {
    return build.parts.images.resolve(imageId);
  } catch (error) {
    if (isBerthError(error, "IMAGE_NOT_FOUND")) return undefined;
    throw error;
  }
}
