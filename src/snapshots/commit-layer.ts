/** Packs an upper directory once, for everyone who wants its tar: the blob's sink, the digest, and a copy of the layer. */
import { PassThrough, type Readable } from "node:stream";
import { finished } from "node:stream/promises";
import type { ConfinedRoots } from "../archive/confined-root.ts";
import type { OpContext } from "../base/op-context.ts";
import { LayerMeter } from "./layer-meter.ts";
import type { CommittedLayer, LayerSink } from "./snapshotter.ts";

export interface PackedLayer {
  readonly diffId: string;
  /** Bytes of its files. */
  readonly size: number;
  readonly blob: CommittedLayer["blob"];
}

/** Writes the tar of `upper` to `sink`, and unpacks it into `copy` on the way when that is given. */
export async function packLayer(
  ctx: OpContext,
  roots: ConfinedRoots,
  upper: string,
  sink: LayerSink,
  copy: string | undefined,
): Promise<PackedLayer> {
  await using root = await roots.open(ctx, upper);
  const tar = await root.pack(ctx, { path: "/", rename: "", semantics: "layer" });
  return await storeLayer(ctx, roots, { tar, maxBytes: Infinity, sink, copy });
}

export interface StoreLayerRequest {
  readonly tar: Readable;
  /** Beyond it `ARCHIVE_TOO_LARGE`. */
  readonly maxBytes: number;
  readonly sink: LayerSink;
  readonly copy: string | undefined;
}

/** Likewise, of a tar that may be anybody's. */
export async function storeLayer(
  ctx: OpContext,
  roots: ConfinedRoots,
  request: StoreLayerRequest,
): Promise<PackedLayer> {
  const { tar, maxBytes, sink, copy } = request;
  const meter = new LayerMeter(maxBytes);
  await using copier = copy === undefined ? undefined : await openCopier(ctx, roots, copy);
  for await (const chunk of tar) {
    meter.feed(chunk);
    await Promise.all([sink.write(chunk), copier?.write(chunk)]);
  }
  await copier?.finish();
  return { ...meter.finish(), blob: await sink.finish() };
}

/** Unpacks what is written to it. */
async function openCopier(ctx: OpContext, roots: ConfinedRoots, directory: string) {
  const root = await roots.open(ctx, directory);
  const stream = new PassThrough({ highWaterMark: 1 });
  const extracted = root.extract(ctx, { source: { stream }, compression: "none", into: "/", semantics: "layer" });
  // Reported by write and finish; without a handler of its own it would end the process in between.
  extracted.catch((error: unknown) => stream.destroy(error instanceof Error ? error : new Error(String(error))));
  stream.on("error", () => {});
  return {
    write: async (chunk: Uint8Array) => {
      const drained = Promise.withResolvers<void>();
      stream.write(chunk, (error) => (error ? drained.reject(error) : drained.resolve()));
      await Promise.race([drained.promise, extracted]);
    },
    finish: async () => {
      stream.end();
      await extracted;
    },
    [Symbol.asyncDispose]: async () => {
      stream.destroy();
      await finished(stream).catch(() => {});
      await extracted.catch(() => {});
      await root[Symbol.asyncDispose]();
    },
  };
}
