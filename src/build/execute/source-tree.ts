/** Which files an instruction's `from` means. */
import type { OpContext } from "../../base/op-context.ts";
import { buildErrors } from "../errors.ts";
import { outsideTree } from "../named-contexts.ts";
import type { SourceTree } from "../source-trees.ts";
import { chainOf } from "../step-state.ts";
import type { StepSources } from "./step-plan.ts";

/** An earlier stage's, an image's, or with "" the build context's. `kind` is what asks, for errors: "COPY". */
export async function sourceTree(
  ctx: OpContext,
  { build, stages }: StepSources,
  from: string,
  kind: string,
): Promise<SourceTree> {
  if (from === "") {
    const context = await build.trees.context(ctx);
    if (context === undefined) throw buildErrors.BUILD_CONTEXT_MISSING({ kind });
    return context;
  }
  const stage = stages.get(from);
  if (stage !== undefined) return await build.trees.image(ctx, chainOf(stage));
  return await outsideTree(ctx, build, from);
}
