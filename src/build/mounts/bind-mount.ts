/** `--mount=type=bind`: files of the context, of a stage or of an image, where a command wants them. */
import { join, posix } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import type { Reverter } from "../../base/reverter.ts";
import type { RunInstruction } from "../../dockerfile/instruction.ts";
import type { BindMount } from "../../dockerfile/run-mount.ts";
import type { Build } from "../build-parts.ts";
import { buildErrors } from "../errors.ts";
import { sourceTree } from "../execute/source-tree.ts";
import type { StepInput, StepSources } from "../execute/step-plan.ts";
import type { SourceTree } from "../source-trees.ts";
import { resolvePath } from "../tree-paths.ts";
import { bindOf, type PlannedMount } from "./planned-mount.ts";

export async function planBind(
  ctx: OpContext,
  { build, stages }: StepInput<RunInstruction>,
  mount: BindMount,
  target: string,
): Promise<PlannedMount> {
  const found = await findMounted(ctx, { build, stages }, mount, target);
  const access = mount.readOnly ? "" : ",rw";
  return {
    target,
    comment: `--mount=type=bind,${found.digest},target=${target}${access}`,
    open: async (ctx, closing) => {
      const directory = mount.readOnly
        ? await found.tree.directory(ctx)
        : await writableView(ctx, build, found.tree, closing);
      return { mounts: [bindOf(join(directory, found.path), target, mount.readOnly)] };
    },
  };
}

export interface Mounted {
  readonly tree: SourceTree;
  /** In the tree, free of symbolic links. */
  readonly path: string;
  /** Names its content. */
  readonly digest: string;
}

/** What `from` and `source` mean: links lead nowhere out of the tree, and nor does "..". */
export async function findMounted(
  ctx: OpContext,
  sources: StepSources,
  { from, source }: Pick<BindMount, "from" | "source">,
  target: string,
): Promise<Mounted> {
  const tree = await (from === "scratch"
    ? sources.build.trees.image(ctx, "")
    : sourceTree(ctx, sources, from, "RUN --mount"));
  const { path, stat } = await resolvePath(ctx, tree.root, posix.resolve("/", source));
  if (stat === undefined) throw buildErrors.BUILD_MOUNT_SOURCE_MISSING({ target, source });
  // All of an image has a name already; reading it whole would take long.
  if (tree.kind === "image" && path === "/") return { tree, path, digest: `image:${tree.chainId}` };
  const digest = await tree.root.digest(ctx, { path, owners: tree.kind === "image" });
  return { tree, path, digest: `${stat.kind === "directory" ? "dir" : "file"}:${digest}` };
}

/** The tree beneath a snapshot that takes what is written, and goes with the step. */
async function writableView(ctx: OpContext, build: Build, tree: SourceTree, closing: Reverter): Promise<string> {
  const { snapshotter } = build.parts;
  const id = build.nextSnapshotId();
  const beneath = tree.kind === "image" ? {} : { beneath: await tree.directory(ctx) };
  await snapshotter.prepare(ctx, id, tree.chainId, { durable: false });
  closing.add("remove the written files", (ctx) => snapshotter.remove(ctx, id));
  return await snapshotter.mount(ctx, id, { volatile: true, ...beneath });
}
