import { isBerthError } from "../base/errors.ts";
import { shortId } from "../base/ids.ts";
import { cleanupContext, type OpContext, withLog, withSignal } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { Descriptor, ImageConfig, ImageLayer, ImageRecord, Manifest, Platform } from "../schema/image.ts";
import { chainIds } from "./chain-id.ts";
import { parseImageConfig, parseManifestDocument } from "./documents.ts";
import { imageErrors } from "./errors.ts";
import type { ImageRoom } from "./image-room.ts";
import type { NewNames, TagChange } from "./image-store.ts";
import type { PullRequest } from "./image-service.ts";
import { Limiter } from "./limiter.ts";
import { isImageConfigType } from "./media-types.ts";
import { formatPlatform, matchingManifests, normalisePlatform, platformOf, platformSatisfies } from "./platform.ts";
import { PullSources } from "./pull-sources.ts";
import { formatFamiliar, formatReference, parseReference, type Reference, withDefaultTag } from "./reference.ts";
import type { RegistryClient } from "./registry/client.ts";
import { downloadBlob } from "./registry/download.ts";
import type { RemoteManifest } from "./registry/repository.ts";
import { type ByteProgress, SharedWork } from "./shared-work.ts";
import { isComplete } from "./store-image.ts";
import { throttled } from "./throttled.ts";

/** An index in an index is allowed by the specification; more than this is an attack. */
const MAX_INDEX_DEPTH = 4;

/** What a registry has under a name, for one platform. */
interface Resolved {
  /** Of what the name stands for: the index where there is one. Goes into the repository digest. */
  readonly topDigest: string;
  readonly document: RemoteManifest;
  readonly mediaType: string;
  readonly manifest: Manifest;
}

/**
 * Pulls images. Layers are downloaded in parallel and unpacked in order while later ones still download; what several clients
 * pull at a time is fetched and unpacked once.
 */
export class Puller {
  readonly #room: ImageRoom;
  readonly #client: RegistryClient;
  readonly #downloads: Limiter;
  readonly #shared = new SharedWork<void>();

  constructor(room: ImageRoom, client: RegistryClient, maxConcurrentDownloads: number) {
    this.#room = room;
    this.#client = client;
    this.#downloads = new Limiter(maxConcurrentDownloads);
  }

  async pull(ctx: OpContext, request: PullRequest, progress: ProgressSink): Promise<ImageRecord> {
    const parsed = parseReference(request.reference);
    if (request.allTags === true) return await this.#pullAll(ctx, parsed, request, progress);
    const reference = withDefaultTag(parsed);
    return await this.#pullOne(withLog(ctx, { image: formatFamiliar(reference) }), reference, request, progress);
  }

  /** Every tag of a repository (`docker pull --all-tags`). */
  async #pullAll(
    ctx: OpContext,
    { domain, path }: Reference,
    request: PullRequest,
    progress: ProgressSink,
  ): Promise<ImageRecord> {
    const name = { domain, path };
    const sources = new PullSources(this.#client.forPull(ctx, name, request.auth));
    const { result: tags } = await sources.firstThat(ctx, 0, (source) => source.tags(ctx, formatFamiliar(name)));
    let last: ImageRecord | undefined;
    for (const tag of tags) last = await this.#pullOne(ctx, { ...name, tag }, request, progress);
    if (last === undefined) throw imageErrors.MANIFEST_NOT_FOUND({ reference: formatFamiliar(name) });
    return last;
  }

  async #pullOne(
    ctx: OpContext,
    reference: Reference,
    request: PullRequest,
    progress: ProgressSink,
  ): Promise<ImageRecord> {
    const wanted = normalisePlatform(request.platform ?? this.#room.platform);
    const tagOrDigest = reference.digest ?? reference.tag ?? "latest";
    const name = formatFamiliar(reference);
    const sources = new PullSources(this.#client.forPull(ctx, reference, request.auth));
    const { index, result } = await sources.firstThat(ctx, 0, async (source) => {
      const digest = reference.digest ?? (await source.resolve(ctx, tagOrDigest, name));
      const local = digest === undefined ? undefined : await this.#local(reference, digest, wanted);
      if (digest !== undefined && local !== undefined) return { kind: "local" as const, local, digest };
      const fetch = async (digest: string) => await source.manifest(ctx, digest, name);
      return { kind: "remote" as const, resolved: await resolveManifest(fetch, digest ?? tagOrDigest, name, wanted) };
    });
    // As in Docker, nothing is said before it is known that there is something to pull.
    progress({
      id: reference.digest === undefined ? tagOrDigest : formatReference(reference),
      status: `Pulling from ${reference.path}`,
    });
    if (result.kind === "local") {
      return this.#finish(
        reference,
        result.digest,
        (names) => this.#room.images.name(result.local.id, names),
        progress,
      );
    }

    const { resolved } = result;
    const abort = new AbortController();
    const own = withSignal(ctx, abort.signal);
    const fetchBlob = async (blob: Descriptor, onProgress: ByteProgress) => {
      await this.#shared.run(own, blob.digest, onProgress, async (ctx, report) => {
        await sources.firstThat(ctx, index, (source) => downloadBlob(ctx, source, this.#room.content, blob, report));
      });
    };
    try {
      return await this.#fetchImage(own, reference, resolved, request.platform, fetchBlob, progress);
    } finally {
      // Whatever still downloads after a failure, for this pull alone, ends here.
      abort.abort();
    }
  }

  /** An image that is here already under this digest, whole and for this platform. */
  async #local(reference: Reference, digest: string, wanted: Platform): Promise<ImageRecord | undefined> {
    const { domain, path } = reference;
    const image = this.#room.images.byReference({ domain, path, digest });
    if (image === undefined || !platformSatisfies(platformOf(image.config), wanted)) return undefined;
    return (await isComplete(this.#room, image)) ? image : undefined;
  }

  async #fetchImage(
    ctx: OpContext,
    reference: Reference,
    resolved: Resolved,
    platform: Platform | undefined,
    fetchBlob: (blob: Descriptor, onProgress: ByteProgress) => Promise<void>,
    progress: ProgressSink,
  ): Promise<ImageRecord> {
    const { images, content, leases, garbage } = this.#room;
    const { manifest, document } = resolved;
    const name = formatFamiliar(reference);
    const blobs = [document.digest, manifest.config.digest, ...manifest.layers.map(({ digest }) => digest)];
    using _blobs = await leases.hold(blobs);

    await fetchBlob(manifest.config, () => {});
    const config = parseImageConfig(await content.readSmall(manifest.config.digest), name);
    checkConfig(name, config, manifest, platform);
    const existing = images.get(manifest.config.digest);
    // The same configuration is the same image, however its layers are compressed here and there.
    if (existing !== undefined && (await isComplete(this.#room, existing))) {
      return this.#finish(reference, resolved.topDigest, (names) => images.name(existing.id, names), progress);
    }

    const chains = chainIds(config.rootfs.diff_ids);
    using _layers = await leases.hold(chains);
    const layers = manifest.layers.map(
      (blob, index): ImageLayer => ({ blob, diffId: config.rootfs.diff_ids[index] ?? "" }),
    );
    try {
      const sizes = await this.#layers(ctx, layers, chains, fetchBlob, progress);
      await content.put(ctx, document.bytes, document.digest);
      const image = {
        id: manifest.config.digest,
        manifest: { mediaType: resolved.mediaType, digest: document.digest, size: document.bytes.length },
        layers: layers.map((layer, index) => ({ ...layer, size: sizes[index] ?? 0 })),
        config,
        size: sizes.reduce((sum, size) => sum + size, 0),
        intermediate: false,
      };
      return this.#finish(reference, resolved.topDigest, (names) => images.put(image, names), progress);
    } catch (error) {
      _layers[Symbol.dispose]();
      // Downloaded blobs stay for the next try, until they are stale, unless the disk is full; what was unpacked of them does not.
      const isDiskFull = isBerthError(error, "ARCHIVE_DISK_FULL", "CONTENT_DISK_FULL");
      if (isDiskFull) _blobs[Symbol.dispose]();
      await garbage.collect(cleanupContext(ctx), { blobs: isDiskFull ? blobs : [], chains });
      throw error;
    }
  }

  /** Downloads all at once, as far as the limit lets them, and unpacks bottom up. Returns the unpacked bytes of each. */
  async #layers(
    ctx: OpContext,
    layers: readonly ImageLayer[],
    chains: readonly string[],
    fetchBlob: (blob: Descriptor, onProgress: ByteProgress) => Promise<void>,
    progress: ProgressSink,
  ): Promise<readonly number[]> {
    const downloads: Promise<"present" | "fetched">[] = [];
    for (const [index, { blob }] of layers.entries()) {
      const id = shortId(blob.digest);
      if ((await this.#room.unpacker.has(chains[index] ?? "")) && (await this.#room.content.has(blob.digest))) {
        progress({ id, status: "Already exists" });
        downloads.push(Promise.resolve("present"));
      } else {
        progress({ id, status: "Pulling fs layer" });
        downloads.push(this.#download(ctx, blob, fetchBlob, progress));
      }
    }
    // A failure is met when its turn to be unpacked comes, or here, whichever is first.
    const anyFailure = Promise.all(downloads);
    anyFailure.catch(() => {});
    const sizes: number[] = [];
    for (const [index, layer] of layers.entries()) {
      const outcome = await Promise.race([downloads[index], anyFailure.then(() => downloads[index])]);
      const id = shortId(layer.blob.digest);
      const parent = index === 0 ? "" : (chains[index - 1] ?? "");
      const report = throttled((current, total) =>
        progress({ id, status: "Extracting", current, ...(total === undefined ? {} : { total }) }),
      );
      const info = await this.#room.unpacker.layer(ctx, parent, chains[index] ?? "", layer, report);
      if (outcome !== "present") progress({ id, status: "Pull complete" });
      sizes.push(info.size);
    }
    return sizes;
  }

  async #download(
    ctx: OpContext,
    blob: Descriptor,
    fetchBlob: (blob: Descriptor, onProgress: ByteProgress) => Promise<void>,
    progress: ProgressSink,
  ): Promise<"fetched"> {
    const id = shortId(blob.digest);
    if (this.#downloads.isFull) progress({ id, status: "Waiting" });
    await this.#downloads.run(ctx.signal, async () => {
      let verifying = false;
      const report = throttled((current, total) =>
        progress({ id, status: "Downloading", current, ...(total === undefined ? {} : { total }) }),
      );
      await fetchBlob(blob, (current, total) => {
        report(current, total);
        if (current === total && !verifying) {
          verifying = true;
          progress({ id, status: "Verifying Checksum" });
        }
      });
      progress({ id, status: "Download complete" });
    });
    return "fetched";
  }

  /** Names the image by `store`, and says how it went. */
  #finish(
    reference: Reference,
    topDigest: string,
    store: (names: NewNames) => TagChange,
    progress: ProgressSink,
  ): ImageRecord {
    const { domain, path, tag, digest } = reference;
    const before = this.#room.images.byReference(reference)?.id;
    const { image } = store({
      repoDigest: formatReference({ domain, path, digest: topDigest }),
      // A tag beside a digest only decorates it.
      ...(digest === undefined && tag !== undefined ? { tag: formatReference({ domain, path, tag }) } : {}),
    });
    this.#room.events.transferred("pull", reference, image);
    const name = formatFamiliar(reference);
    progress({ status: `Digest: ${topDigest}` });
    progress({
      status:
        before === image.id ? `Status: Image is up to date for ${name}` : `Status: Downloaded newer image for ${name}`,
    });
    return image;
  }
}

/** Fetches manifests until it has one for the platform. */
async function resolveManifest(
  fetch: (tagOrDigest: string) => Promise<RemoteManifest>,
  tagOrDigest: string,
  name: string,
  wanted: Platform,
): Promise<Resolved> {
  let document = await fetch(tagOrDigest);
  const topDigest = document.digest;
  for (let depth = 0; depth <= MAX_INDEX_DEPTH; depth += 1) {
    const parsed = parseManifestDocument(document.bytes, document.mediaType, name);
    if (parsed.kind === "manifest") {
      const { mediaType: configType } = parsed.manifest.config;
      if (!isImageConfigType(configType)) throw imageErrors.IMAGE_NOT_RUNNABLE({ name, mediaType: configType });
      return { topDigest, document, mediaType: parsed.mediaType, manifest: parsed.manifest };
    }
    const [best] = matchingManifests(parsed.index.manifests, wanted);
    if (best === undefined) {
      const available = parsed.index.manifests.flatMap(({ platform }) =>
        platform === undefined || platform.os === "unknown" ? [] : [formatPlatform(normalisePlatform(platform))],
      );
      throw imageErrors.NO_MATCHING_PLATFORM({ wanted: formatPlatform(wanted), available });
    }
    document = await fetch(best.digest);
  }
  throw imageErrors.IMAGE_DOCUMENT_INVALID({ what: `manifest list of ${name}`, reason: "lists are nested too deep" });
}

function checkConfig(name: string, config: ImageConfig, manifest: Manifest, platform: Platform | undefined): void {
  const diffIds = config.rootfs.diff_ids.length;
  if (diffIds !== manifest.layers.length) {
    throw imageErrors.IMAGE_LAYERS_MISMATCH({ name, layers: manifest.layers.length, diffIds });
  }
  if (platform !== undefined && !platformSatisfies(platformOf(config), platform)) {
    throw imageErrors.IMAGE_PLATFORM_MISMATCH({
      reference: name,
      wanted: formatPlatform(normalisePlatform(platform)),
      actual: formatPlatform(platformOf(config)),
    });
  }
}
