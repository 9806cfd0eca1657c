import { shortId } from "../base/ids.ts";
import { type OpContext, withLog } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { Descriptor, ImageLayer, ImageRecord, Manifest } from "../schema/image.ts";
import { sha256 } from "./chain-id.ts";
import { parseManifestDocument } from "./documents.ts";
import { imageErrors } from "./errors.ts";
import type { ImageRoom } from "./image-room.ts";
import type { PushRequest } from "./image-service.ts";
import { Limiter } from "./limiter.ts";
import {
  familiarName,
  formatFamiliar,
  formatReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from "./reference.ts";
import type { RegistryClient } from "./registry/client.ts";
import type { Repository } from "./registry/repository.ts";
import { uploadBlob } from "./registry/upload.ts";
import { throttled } from "./throttled.ts";

/** How many other repositories of the registry are asked for a layer before it is uploaded. */
const MAX_MOUNT_TRIES = 3;

/** Pushes images. Layers that are there already are not sent; what Berth compressed with zstd goes as gzip. */
export class Pusher {
  readonly #room: ImageRoom;
  readonly #client: RegistryClient;
  readonly #uploads: Limiter;
  readonly #chunkBytes: number;

  constructor(
    room: ImageRoom,
    client: RegistryClient,
    limits: { readonly maxConcurrentUploads: number; readonly chunkBytes: number },
  ) {
    this.#room = room;
    this.#client = client;
    this.#uploads = new Limiter(limits.maxConcurrentUploads);
    this.#chunkBytes = limits.chunkBytes;
  }

  async push(ctx: OpContext, request: PushRequest, progress: ProgressSink): Promise<void> {
    const parsed = parseReference(request.reference);
    if (parsed.digest !== undefined) throw imageErrors.PUSH_BY_DIGEST({});
    progress({ status: `The push refers to repository [${parsed.domain}/${parsed.path}]` });
    const targets = request.allTags === true ? this.#allTags(parsed) : [withDefaultTag(parsed)];
    const images = targets.map((reference) => ({ reference, image: this.#named(reference) }));
    using _leases = await this.#room.leases.hold(images.flatMap(({ image }) => blobsOf(image)));
    // Whoever was removing images when the leases were asked for may have taken one with its blobs.
    for (const { reference, image } of images) {
      if (this.#named(reference).id !== image.id) throw imageErrors.PUSH_NO_TAGS({ name: familiarName(reference) });
    }
    const repository = await this.#client.forPush(ctx, parsed, request.auth);
    for (const { reference, image } of images) {
      await this.#pushOne(withLog(ctx, { image: formatFamiliar(reference) }), repository, reference, image, progress);
    }
  }

  #named(reference: Reference): ImageRecord {
    const image = this.#room.images.byReference(reference);
    if (image === undefined) throw imageErrors.PUSH_NO_TAGS({ name: familiarName(reference) });
    return image;
  }

  #allTags({ domain, path }: Reference): readonly Reference[] {
    const name = { domain, path };
    const tags = this.#room.images
      .list()
      .flatMap(({ tags }) => tags.map(parseReference))
      .filter((reference) => reference.domain === domain && reference.path === path);
    if (tags.length === 0) throw imageErrors.PUSH_NO_TAGS({ name: familiarName(name) });
    return tags;
  }

  async #pushOne(
    ctx: OpContext,
    repository: Repository,
    reference: Reference,
    image: ImageRecord,
    progress: ProgressSink,
  ): Promise<void> {
    const { content, images, events } = this.#room;
    // Top first, as Docker lists them; one that occurs twice is sent once.
    const layers = [...new Map(image.layers.map((layer) => [layer.diffId, layer])).values()].toReversed();
    for (const layer of layers) progress({ id: shortId(layer.diffId), status: "Preparing" });
    const abort = new AbortController();
    const own = { ...ctx, signal: AbortSignal.any([ctx.signal, abort.signal]) };
    const pushed = new Map<string, Descriptor>();
    try {
      await Promise.all(
        layers.map(async (layer) => pushed.set(layer.diffId, await this.#pushLayer(own, repository, layer, progress))),
      );
    } finally {
      abort.abort();
    }
    const configBlob = await content.stat(image.id);
    const stored = await this.#manifest(image);
    const config: Descriptor = { ...stored.manifest.config, digest: image.id, size: configBlob?.size ?? 0 };
    if (!(await repository.hasBlob(ctx, image.id))) {
      const options = { mountFrom: [], chunkBytes: this.#chunkBytes, onProgress: () => {} };
      await uploadBlob(ctx, repository, content, config, options);
    }

    const tag = reference.tag ?? "latest";
    const document = withLayers(stored, image, pushed);
    await repository.putManifest(ctx, tag, document.bytes, document.mediaType);
    const digest = sha256(document.bytes);
    const { domain, path } = reference;
    // Removed meanwhile, it has been pushed all the same.
    if (images.get(image.id) !== undefined) {
      images.name(image.id, { repoDigest: formatReference({ domain, path, digest }) });
    }
    events.transferred("push", reference, images.get(image.id) ?? image);
    progress({ status: `${tag}: digest: ${digest} size: ${document.bytes.length}` });
    progress({ aux: { Tag: tag, Digest: digest, Size: document.bytes.length } });
  }

  /** The descriptor under which the layer is in the registry now. */
  async #pushLayer(
    ctx: OpContext,
    repository: Repository,
    layer: ImageLayer,
    progress: ProgressSink,
  ): Promise<Descriptor> {
    const id = shortId(layer.diffId);
    if (this.#uploads.isFull) progress({ id, status: "Waiting" });
    return await this.#uploads.run(ctx.signal, async () => {
      const { content, conversions, leases } = this.#room;
      if (!(await content.has(layer.blob.digest))) {
        throw imageErrors.IMAGE_LAYER_MISSING({ image: id, digest: layer.blob.digest });
      }
      const blob = await conversions.toGzip(ctx, layer.blob);
      using _lease = await leases.hold([blob.digest]);
      if (await repository.hasBlob(ctx, blob.digest)) {
        progress({ id, status: "Layer already exists" });
        return blob;
      }
      const report = throttled((current, total) =>
        progress({ id, status: "Pushing", current, ...(total === undefined ? {} : { total }) }),
      );
      const result = await uploadBlob(ctx, repository, content, blob, {
        mountFrom: this.#mountCandidates(repository, layer),
        chunkBytes: this.#chunkBytes,
        onProgress: report,
      });
      progress({ id, status: result.kind === "mounted" ? `Mounted from ${result.from}` : "Pushed" });
      return blob;
    });
  }

  /** Repositories of the same registry that were seen with this layer. */
  #mountCandidates(repository: Repository, layer: ImageLayer): readonly string[] {
    const found = new Set<string>();
    for (const image of this.#room.images.list()) {
      if (!image.layers.some(({ diffId }) => diffId === layer.diffId)) continue;
      for (const { domain, path } of image.repoDigests.map(parseReference)) {
        if (domain === repository.connection.endpoint.host && path !== repository.path) found.add(path);
      }
    }
    return [...found].slice(0, MAX_MOUNT_TRIES);
  }

  async #manifest(image: ImageRecord): Promise<{ readonly bytes: Uint8Array; readonly manifest: Manifest }> {
    const bytes = await this.#room.content.readSmall(image.manifest.digest);
    const parsed = parseManifestDocument(bytes, image.manifest.mediaType, image.id);
    if (parsed.kind === "manifest") return { bytes, manifest: parsed.manifest };
    throw imageErrors.IMAGE_DOCUMENT_INVALID({ what: `manifest of ${image.id}`, reason: "it is a list" });
  }
}

/** The stored manifest as it is when its layers were pushed as they are, so that its digest stays; else one with theirs. */
function withLayers(
  stored: { readonly bytes: Uint8Array; readonly manifest: Manifest },
  image: ImageRecord,
  pushed: ReadonlyMap<string, Descriptor>,
): { readonly bytes: Uint8Array; readonly mediaType: string } {
  const layers = image.layers.map(({ blob, diffId }) => pushed.get(diffId) ?? blob);
  if (layers.every(({ digest }, index) => digest === stored.manifest.layers[index]?.digest)) {
    return { bytes: stored.bytes, mediaType: image.manifest.mediaType };
  }
  const manifest: Manifest = {
    ...stored.manifest,
    mediaType: image.manifest.mediaType,
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  };
  return { bytes: Buffer.from(JSON.stringify(manifest)), mediaType: image.manifest.mediaType };
}

/** Every blob that a push of the image reads. */
function blobsOf(image: ImageRecord): readonly string[] {
  return [image.id, image.manifest.digest, ...image.layers.map(({ blob }) => blob.digest)];
}
