/** `--mount=type=cache`: a directory that the next build finds again. */
import { posix } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import type { RunInstruction } from "../../dockerfile/instruction.ts";
import type { CacheMount } from "../../dockerfile/run-mount.ts";
import { chmod, chown } from "../../host/files.ts";
import { cacheKey } from "../build-cache.ts";
import type { Build } from "../build-parts.ts";
import { buildErrors } from "../errors.ts";
import type { StepInput } from "../execute/step-plan.ts";
import { attributeWords } from "./attribute-words.ts";
import { findMounted, type Mounted } from "./bind-mount.ts";
import { bindOf, type PlannedMount } from "./planned-mount.ts";

export async function planCache(
  ctx: OpContext,
  { build, stages }: StepInput<RunInstruction>,
  mount: CacheMount,
  target: string,
): Promise<PlannedMount> {
  const id = mount.id || posix.normalize(mount.target);
  const isEmpty = mount.from === "" || mount.from === "scratch";
  if (isEmpty && posix.resolve("/", mount.source) !== "/") {
    throw buildErrors.BUILD_MOUNT_SOURCE_MISSING({ target, source: mount.source });
  }
  const base = isEmpty ? undefined : await findMounted(ctx, { build, stages }, mount, target);
  const { mode, uid, gid } = mount.attributes;
  const words = [
    `id=${id}`,
    `target=${target}`,
    `sharing=${mount.sharing}`,
    ...(base === undefined ? [] : [base.digest]),
    ...attributeWords(mount.attributes),
    ...(mount.readOnly ? ["ro"] : []),
  ];
  const key = cacheKey({ id, base: base?.digest ?? "", mode: mode ?? "", uid: uid ?? "", gid: gid ?? "" });
  return {
    target,
    comment: `--mount=type=cache,${words.join(",")}`,
    cache: {
      key,
      sharing: mount.sharing,
      description: `cached mount ${target} from exec ${id === target ? "" : `with id ${id}`}`.trim(),
      fill: (ctx, directory) => fillCache(ctx, build, mount, base, directory),
    },
    open: async (_ctx, _closing, directory) => ({ mounts: [bindOf(directory, target, mount.readOnly)] }),
  };
}

async function fillCache(
  ctx: OpContext,
  build: Build,
  { attributes: { mode, uid, gid } }: CacheMount,
  base: Mounted | undefined,
  directory: string,
): Promise<void> {
  if (base !== undefined) await copyTree(ctx, build, base, directory);
  const top = base === undefined ? undefined : await base.tree.root.stat(ctx, base.path);
  if (uid !== undefined || gid !== undefined) await chown(directory, uid ?? top?.uid ?? 0, gid ?? top?.gid ?? 0);
  else if (top !== undefined && (top.uid !== 0 || top.gid !== 0)) await chown(directory, top.uid, top.gid);
  await chmod(directory, mode ?? top?.mode ?? 0o755);
}

async function copyTree(ctx: OpContext, build: Build, { tree, path }: Mounted, directory: string): Promise<void> {
  await using root = await build.parts.roots.open(ctx, directory);
  const stream = await tree.root.pack(ctx, { path, rename: "", semantics: "plain" });
  try {
    await root.extract(ctx, { source: { stream }, compression: "none", into: "/", semantics: "plain" });
  } finally {
    stream.destroy();
  }
}
