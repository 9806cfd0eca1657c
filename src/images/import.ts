import type { Readable } from "node:stream";
import { cleanupContext, type OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import { applyChanges } from "../dockerfile/apply-changes.ts";
import type { HistoryEntry, ImageConfig, ImageRecord, ImageRunConfig, Platform } from "../schema/image.ts";
import { chainIds } from "./chain-id.ts";
import type { ImageRoom } from "./image-room.ts";
import type { ImportRequest } from "./image-service.ts";
import { ingestLayer, type IngestOptions } from "./layer-ingest.ts";
import { normalisePlatform } from "./platform.ts";
import { formatReference, parseReference, type Reference, withDefaultTag } from "./reference.ts";
import { assembleImage } from "./store-image.ts";
import { throttled } from "./throttled.ts";

/** `docker import`: a root file system's tar as an image of one layer. */
export async function importImage(
  ctx: OpContext,
  room: ImageRoom,
  request: ImportRequest,
  progress: ProgressSink,
): Promise<ImageRecord> {
  const reference = request.reference === undefined ? undefined : withDefaultTag(parseReference(request.reference));
  // Before the upload is read: what can't be done is said at once.
  const runConfig = applyChanges({}, request.changes);
  const record = await storeRootfs(ctx, room, request.tar, {
    reference,
    runConfig,
    platform: normalisePlatform(request.platform ?? room.platform),
    created: new Date(room.clock.now()).toISOString(),
    history: [{ comment: request.message ?? "Imported from -" }],
    onProgress: throttledBytes(progress),
  });
  room.events.changed("import", record);
  return record;
}

function throttledBytes(progress: ProgressSink): (bytes: number) => void {
  const report = throttled((current) => progress({ status: "Importing", current }));
  return (bytes) => report(bytes, undefined);
}

export interface RootfsImage {
  readonly reference: Reference | undefined;
  readonly runConfig: ImageRunConfig;
  readonly platform: Platform;
  /** ISO 8601. */
  readonly created: string;
  /** The first is the layer's. */
  readonly history: readonly Omit<HistoryEntry, "created">[];
  readonly onProgress?: IngestOptions["onProgress"];
}

/** Makes an image of one layer from a root file system's tar. Leaves nothing when it fails. */
export async function storeRootfs(
  ctx: OpContext,
  room: ImageRoom,
  tar: Readable,
  image: RootfsImage,
): Promise<ImageRecord> {
  const held: Disposable[] = [];
  const hold = async (...keys: readonly string[]) => void held.push(await room.leases.hold(keys));
  const letGo = () => {
    for (const lease of held) lease[Symbol.dispose]();
  };
  const blobs: string[] = [];
  const chains: string[] = [];
  try {
    const layer = await ingestLayer(ctx, room.content, tar, {
      filters: room.processes,
      onBlob: async (digest) => {
        blobs.push(digest);
        await hold(digest);
      },
      ...(image.onProgress === undefined ? {} : { onProgress: image.onProgress }),
    });
    chains.push(...chainIds([layer.diffId]));
    await hold(...chains);
    const config: ImageConfig = {
      created: image.created,
      architecture: image.platform.architecture,
      ...(image.platform.variant === undefined ? {} : { variant: image.platform.variant }),
      os: image.platform.os,
      config: image.runConfig,
      rootfs: { type: "layers", diff_ids: [layer.diffId] },
      history: image.history.map((entry) => ({ created: image.created, ...entry })),
    };
    const assembled = await assembleImage(ctx, room, config, [layer], async (...digests) => {
      blobs.push(...digests);
      await hold(...digests);
    });
    const tag = image.reference === undefined ? {} : { tag: formatReference(image.reference) };
    return room.images.put({ ...assembled, intermediate: false }, tag).image;
  } catch (error) {
    letGo();
    await room.garbage.collect(cleanupContext(ctx), { blobs, chains });
    throw error;
  } finally {
    letGo();
  }
}
