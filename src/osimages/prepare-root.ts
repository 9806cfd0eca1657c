import type { ConfinedRoot, ConfinedRoots } from "../archive/confined-root.ts";
import type { OpContext } from "../base/op-context.ts";
import type { Host } from "../host/host.ts";
import type { ImageRunConfig } from "../schema/image.ts";
import { osImageErrors } from "./errors.ts";
import { imageCommand, initPath } from "./image-command.ts";
import { osFiles, unwantedFiles } from "./os-files.ts";
import { type OverlayFile, overlayTar } from "./overlay-files.ts";
import { ownKernel } from "./own-kernel.ts";
import { inspectRoot } from "./root-tree.ts";

export interface PrepareRootRequest {
  /** For messages. */
  readonly source: string;
  readonly rootUuid: string;
  readonly osinit: Uint8Array;
  /** Just made of packages. */
  readonly fresh: boolean;
  /** What a container of the image runs: so does a machine, where there is no init. */
  readonly config: ImageRunConfig;
  /** Path of a package with a kernel; asked for when the tree has none. */
  readonly kernelPackage: () => Promise<string>;
  /** Existing, for what is made on the way; the caller's to remove. */
  readonly directory: string;
}

/** Makes a root file system one that a machine starts from. `OS_NOTHING_TO_RUN`. */
export async function prepareRoot(
  ctx: OpContext,
  parts: { readonly host: Pick<Host, "processes" | "facts">; readonly roots: ConfinedRoots },
  root: ConfinedRoot,
  request: PrepareRootRequest,
): Promise<void> {
  const { source, rootUuid, osinit, fresh, directory } = request;
  const tree = await inspectRoot(ctx, root);
  const command = tree.init === undefined ? imageCommand(request.config, osinit) : [];
  if (command === undefined) throw osImageErrors.OS_NOTHING_TO_RUN({ source });
  for (const path of unwantedFiles({ tree, fresh })) await root.remove(ctx, path);
  const put = async (files: readonly OverlayFile[]) => {
    const stream = overlayTar(files);
    await root.extract(ctx, { source: { stream }, compression: "none", into: "/", semantics: "plain" });
  };
  let { kernel } = tree;
  if (kernel === undefined) {
    const own = await ownKernel(ctx, parts, { kernelPackage: await request.kernelPackage(), directory, osinit, tree });
    await put(own.files);
    await own.addModules(ctx, root);
    kernel = own.installed;
  }
  const kernelWords = tree.init === undefined ? [`init=${initPath}`, "quiet"] : [];
  await put([...osFiles({ tree, kernel, rootUuid, kernelWords, growRoot: osinit, fresh }), ...command]);
}
