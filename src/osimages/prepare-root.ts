import type { ConfinedRoot } from "../archive/confined-root.ts";
import type { OpContext } from "../base/op-context.ts";
import { osImageErrors } from "./errors.ts";
import { osFiles, unwantedFiles } from "./os-files.ts";
import { overlayTar } from "./overlay-files.ts";
import { inspectRoot } from "./root-tree.ts";

export interface PrepareRootRequest {
  /** For messages. */
  readonly source: string;
  readonly rootUuid: string;
  readonly osinit: Uint8Array;
  /** Just made of packages. */
  readonly fresh: boolean;
}

/** Makes a root file system one that a machine starts from. `OS_NOTHING_TO_RUN`. */
export async function prepareRoot(ctx: OpContext, root: ConfinedRoot, request: PrepareRootRequest): Promise<void> {
  const { source, rootUuid, osinit, fresh } = request;
  const tree = await inspectRoot(ctx, root);
  if (tree.init === undefined || tree.kernel === undefined) throw osImageErrors.OS_NOTHING_TO_RUN({ source });
  for (const path of unwantedFiles({ tree, fresh })) await root.remove(ctx, path);
  const files = osFiles({ tree, kernel: tree.kernel, rootUuid, kernelWords: [], growRoot: osinit, fresh });
  await root.extract(ctx, {
    source: { stream: overlayTar(files) },
    compression: "none",
    into: "/",
    semantics: "plain",
  });
}
