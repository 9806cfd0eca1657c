import type { OpContext } from "../base/op-context.ts";
import type { Descriptor, ImageConfig, ImageLayer, ImageRecord, Manifest } from "../schema/image.ts";
import { sha256 } from "./chain-id.ts";
import { contentOf } from "./garbage.ts";
import type { ImageRoom } from "./image-room.ts";
import { MediaType } from "./media-types.ts";
import { imageErrors } from "./errors.ts";

/** The OCI manifest of an image that came without one (docker-archive, import, commit, build). */
export function synthesiseManifest(config: Descriptor, layers: readonly ImageLayer[]): Uint8Array {
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config,
    layers: layers.map(({ blob: { mediaType, digest, size } }) => ({ mediaType, digest, size })),
  };
  return Buffer.from(JSON.stringify(manifest));
}

/** An image's configuration as bytes: what its id is made from. */
export function encodeConfig(config: ImageConfig): Uint8Array {
  return Buffer.from(JSON.stringify(config));
}

/** Whether all that the record names is really there; what a damaged disk lost is pulled or loaded again. */
export async function isComplete(room: ImageRoom, image: ImageRecord): Promise<boolean> {
  const { blobs, chains } = contentOf(image);
  for (const digest of blobs) if (!(await room.content.has(digest))) return false;
  for (const chain of chains) if (!(await room.unpacker.has(chain))) return false;
  return true;
}

/**
 * Writes configuration and manifest, unpacks the layers and returns what a record needs. The layer blobs must be in the
 * store and leased; `protect` leases the documents before they are written.
 */
export async function assembleImage(
  ctx: OpContext,
  room: ImageRoom,
  config: ImageConfig,
  layers: readonly ImageLayer[],
  protect: (...digests: readonly string[]) => Promise<void>,
): Promise<Pick<ImageRecord, "id" | "manifest" | "layers" | "config" | "size">> {
  const bytes = encodeConfig(config);
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== layers.length) {
    throw imageErrors.IMAGE_LAYERS_MISMATCH({ name: sha256(bytes), layers: layers.length, diffIds: diffIds.length });
  }
  const id = sha256(bytes);
  const manifest = synthesiseManifest({ mediaType: MediaType.ociConfig, digest: id, size: bytes.length }, layers);
  const digest = sha256(manifest);
  await protect(id, digest);
  await room.content.put(ctx, bytes, id);
  await room.content.put(ctx, manifest, digest);
  const unpacked = await room.unpacker.image(ctx, { layers: [...layers], config }, () => {});
  return {
    id,
    manifest: { mediaType: MediaType.ociManifest, digest, size: manifest.length },
    layers: unpacked.layers,
    config,
    size: unpacked.size,
  };
}
