import { isBerthError } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import { cleanupContext, type OpContext } from "../base/op-context.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";

/** Counts who needs an instance's root file system mounted: its run, a copy, an export. The last one unmounts it. */
export class RootMounts {
  readonly #snapshotter: Snapshotter;
  readonly #skeleton: string;
  readonly #unpack: (ctx: OpContext, id: string) => Promise<void>;
  readonly #mutex = new KeyedMutex();
  readonly #mounted = new Map<string, { readonly root: string; holders: number }>();

  /** `skeleton`: see `root-skeleton.ts`. `unpack` makes the layers below an instance's root anew from its image. */
  constructor(snapshotter: Snapshotter, skeleton: string, unpack: (ctx: OpContext, id: string) => Promise<void>) {
    this.#snapshotter = snapshotter;
    this.#skeleton = skeleton;
    this.#unpack = unpack;
  }

  /** Mounts it, or takes part in a mount that is there. Each `hold` needs one {@link release}. */
  async hold(ctx: OpContext, id: string, options: { readonly volatile: boolean }): Promise<string> {
    using _ = await this.#mutex.acquire(id);
    const mounted = this.#mounted.get(id);
    if (mounted !== undefined) {
      mounted.holders++;
      return mounted.root;
    }
    const root = await this.#mount(ctx, id, options);
    this.#mounted.set(id, { root, holders: 1 });
    return root;
  }

  async #mount(ctx: OpContext, id: string, options: { readonly volatile: boolean }): Promise<string> {
    const mount = () => this.#snapshotter.mount(ctx, id, { ...options, beneath: this.#skeleton });
    try {
      return await mount();
    } catch (error) {
      // A layer that a power cut kept from the disk was dropped at the next start; its blob is there.
      if (!isBerthError(error, "LAYER_NOT_FOUND")) throw error;
      await this.#unpack(ctx, id);
      return await mount();
    }
  }

  /** Also of what a predecessor had mounted, for a run that ended before this engine could take part. */
  async release(ctx: OpContext, id: string): Promise<void> {
    using _ = await this.#mutex.acquire(id);
    const mounted = this.#mounted.get(id);
    if (mounted !== undefined) {
      mounted.holders--;
      if (mounted.holders > 0) return;
      this.#mounted.delete(id);
    }
    await this.#snapshotter.unmount(ctx, id);
  }

  /** The instance is being removed: whoever still holds it loses it. */
  async discard(ctx: OpContext, id: string): Promise<void> {
    using _ = await this.#mutex.acquire(id);
    this.#mounted.delete(id);
    await this.#snapshotter.remove(ctx, id);
  }

  /** Runs `work` with the root mounted. */
  async with<T>(
    ctx: OpContext,
    id: string,
    options: { readonly volatile: boolean },
    work: (root: string) => Promise<T>,
  ): Promise<T> {
    const root = await this.hold(ctx, id, options);
    try {
      return await work(root);
    } finally {
      await this.release(cleanupContext(ctx), id);
    }
  }
}
