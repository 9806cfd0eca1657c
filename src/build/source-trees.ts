/** Where COPY, ADD and mounts of RUN take files from: the build context, other stages and images, files made for the build. */
import { basename, join } from "node:path";
import type { ConfinedRoot, ConfinedRoots } from "../archive/confined-root.ts";
import type { OpContext } from "../base/op-context.ts";
import { mkdir, writeFile } from "../host/files.ts";
import type { SpooledContext } from "./context/spooled-context.ts";
import { buildErrors } from "./errors.ts";
import { type ListDirectory, listBelow, type ReadableRoot } from "./tree-paths.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";

/**
 * INVARIANT: nothing changes a tree while a build uses it. The context and made files are the build's own copies, images
 * are read-only views. So its directories may be listed from outside the wall, as long as no symbolic link is followed.
 */
export interface SourceTree {
  readonly root: ReadableRoot;
  readonly list: ListDirectory;
  /** The root's directory on the host; a context that is still a tar is unpacked for it. */
  directory(ctx: OpContext): Promise<string>;
  readonly kind: "context" | "image" | "made";
  /** Of an image the stack of layers, else "". */
  readonly chainId: string;
}

/** Where a build's context is: a directory on the host, a tar, or still with the client. */
export type ContextFiles = PresentFiles | { readonly kind: "later"; take(ctx: OpContext): Promise<PresentFiles> };

export type PresentFiles =
  | { readonly kind: "directory"; readonly directory: string }
  | { readonly kind: "tar"; readonly tar: SpooledContext };

/** A root file system to be read as a whole. */
export interface RootView {
  readonly root: ConfinedRoot;
  /** Its directory on the host; the invariant above holds for it. */
  readonly directory: string;
}

/** Opens each tree once and keeps it for the rest of the build. */
export class SourceTrees implements AsyncDisposable {
  readonly #parts: { readonly roots: ConfinedRoots; readonly snapshotter: Snapshotter };
  readonly #directory: string;
  readonly #context: ContextFiles | undefined;
  readonly #named: ReadonlyMap<string, ContextFiles>;
  readonly #opened = new Map<string, Promise<SourceTree>>();
  readonly #resources = new AsyncDisposableStack();
  #made = 0;

  /** `directory` is the build's own; `context` undefined is a build without one. A tar is closed with the trees. */
  constructor(
    parts: { readonly roots: ConfinedRoots; readonly snapshotter: Snapshotter },
    directory: string,
    context: ContextFiles | undefined,
    named: ReadonlyMap<string, ContextFiles> = new Map(),
  ) {
    this.#parts = parts;
    this.#directory = directory;
    this.#context = context;
    this.#named = named;
    if (context?.kind === "tar") this.#resources.use(context.tar);
  }

  /** Undefined when the build has no context. */
  async context(ctx: OpContext): Promise<SourceTree | undefined> {
    return this.#context === undefined ? undefined : await this.#contextOnce(ctx, "context", this.#context);
  }

  /** Another context, by its name. */
  async named(ctx: OpContext, name: string): Promise<SourceTree> {
    const context = this.#named.get(name);
    if (context === undefined) throw buildErrors.BUILD_CONTEXT_MISSING({ kind: name });
    return await this.#contextOnce(ctx, `context ${name}`, context);
  }

  async #contextOnce(ctx: OpContext, key: string, context: ContextFiles): Promise<SourceTree> {
    return await this.#once(key, async () => {
      if (context.kind !== "later") return await this.#openContext(ctx, context);
      const taken = await context.take(ctx);
      if (taken.kind === "tar") await this.#keep(ctx, taken.tar);
      return await this.#openContext(ctx, taken);
    });
  }

  async #openContext(ctx: OpContext, files: PresentFiles): Promise<SourceTree> {
    if (files.kind === "directory") return await this.#open(ctx, files.directory, "context");
    const { tar } = files;
    return { root: tar, list: tar.list, directory: (ctx) => tar.directory(ctx), kind: "context", chainId: "" };
  }

  /** The root file system of a stack of layers. */
  async image(ctx: OpContext, chainId: string): Promise<SourceTree> {
    return await this.#once(`image ${chainId}`, async () => {
      const { root, directory } = await this.view(ctx, chainId);
      return { root, list: listBelow(directory), directory: async () => directory, kind: "image", chainId };
    });
  }

  /** The same, opened once more. */
  async view(ctx: OpContext, chainId: string): Promise<RootView> {
    const { root: directory } = await this.#keep(ctx, await this.#parts.snapshotter.view(ctx, chainId));
    return { root: await this.#keep(ctx, await this.#parts.roots.open(ctx, directory)), directory };
  }

  /** An empty tree, for `fill` to put a file into (directory on the host). */
  async make(ctx: OpContext, fill: (directory: string) => Promise<void>): Promise<SourceTree> {
    const directory = join(this.#directory, `made-${this.#made++}`);
    await mkdir(directory, { mode: 0o700 });
    await fill(directory);
    return await this.#open(ctx, directory, "made");
  }

  /** A tree with one file of this content. */
  async makeFile(ctx: OpContext, name: string, content: string, mode: number): Promise<SourceTree> {
    return await this.make(ctx, (directory) => writeFile(join(directory, basename(name)), content, { mode }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }

  async #open(ctx: OpContext, directory: string, kind: SourceTree["kind"]): Promise<SourceTree> {
    const root = await this.#keep(ctx, await this.#parts.roots.open(ctx, directory));
    return { root, list: listBelow(directory), directory: async () => directory, kind, chainId: "" };
  }

  /** Until the trees are closed; at once when they were closed while it was being opened, as by a build that was given up. */
  async #keep<T extends AsyncDisposable>(ctx: OpContext, resource: T): Promise<T> {
    if (!this.#resources.disposed) return this.#resources.use(resource);
    await resource[Symbol.asyncDispose]();
    ctx.signal.throwIfAborted();
    throw new Error("a source was asked for after the build's end");
  }

  async #once(name: string, open: () => Promise<SourceTree>): Promise<SourceTree> {
    const opening = this.#opened.get(name) ?? open();
    this.#opened.set(name, opening);
    return await opening;
  }
}
