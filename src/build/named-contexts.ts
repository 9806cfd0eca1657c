/** `--build-context NAME=…`: what a Dockerfile means by a name that is neither a stage's nor, any longer, an image's. */
import { join } from "node:path";
import type { OpContext } from "../base/op-context.ts";
import { familiar } from "../images/reference.ts";
import type { Build } from "./build-parts.ts";
import type { NamedContext } from "./build-service.ts";
import { type IntakeParts, laterFiles } from "./context/intake.ts";
import { resolveImage } from "./execute/from.ts";
import type { ContextFiles, SourceTree } from "./source-trees.ts";

/** By their names as images would have them: "debian" is "docker.io/library/debian:latest" as well. */
export class NamedContexts {
  readonly #contexts = new Map<string, NamedContext & { readonly name: string }>();

  constructor(contexts: Readonly<Record<string, NamedContext>> = {}) {
    for (const [name, context] of Object.entries(contexts)) this.#contexts.set(keyOf(name), { ...context, name });
  }

  find(name: string): (NamedContext & { readonly name: string }) | undefined {
    return this.#contexts.size === 0 ? undefined : this.#contexts.get(keyOf(name));
  }

  /** Those that are files, for {@link SourceTrees}, each with a place below `directory` of its own. */
  files(parts: IntakeParts, directory: string): ReadonlyMap<string, ContextFiles> {
    const found = new Map<string, ContextFiles>();
    for (const context of this.#contexts.values()) {
      if (context.kind === "image") continue;
      found.set(context.name, laterFiles(parts, context.source, join(directory, `context-${found.size}`)));
    }
    return found;
  }
}

/** The files that a name means which is no stage's: of a context, or of an image. */
export async function outsideTree(ctx: OpContext, build: Build, name: string): Promise<SourceTree> {
  const context = build.contexts.find(name);
  if (context?.kind === "files") return await build.trees.named(ctx, context.name);
  const image = await resolveImage(ctx, build, context?.reference ?? name, build.request.platform);
  return await build.trees.image(ctx, await build.parts.images.unpack(ctx, image));
}

/** What is no image's name is itself. */
function keyOf(name: string): string {
  try {
    return familiar(name).replace(/:latest$/, "");
  } catch {
    return name;
  }
}
