import { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { Descriptor, ImageIndex, ImageRecord, Platform } from "../schema/image.ts";
import { chainId } from "./chain-id.ts";
import { imageErrors } from "./errors.ts";
import { contentOf } from "./garbage.ts";
import type { ImageRoom } from "./image-room.ts";
import { MediaType } from "./media-types.ts";
import { formatPlatform, normalisePlatform, platformOf, platformSatisfies } from "./platform.ts";
import {
  familiarName,
  formatFamiliar,
  formatReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from "./reference.ts";
import { type TarFile, writeTar } from "./tar-writer.ts";

/** An image to save, and the tags that it goes by in the archive. */
interface Selected {
  readonly image: ImageRecord;
  readonly tags: readonly Reference[];
}

/**
 * Streams images as a tar that is an OCI layout and a docker-archive at once, as Docker writes since 25. Blobs are as stored, so
 * their digests survive. The result fails when a blob is damaged or `ctx` is aborted.
 */
export async function saveImages(
  ctx: OpContext,
  room: ImageRoom,
  refs: readonly string[],
  platform: Platform | undefined,
): Promise<Readable> {
  const selected = select(room, refs);
  if (platform !== undefined) for (const { image } of selected) checkPlatform(image, platform);
  const files = announced(room, selected, filesOf(ctx, room, selected));
  return Readable.from(writeTar(files), { objectMode: false, signal: ctx.signal });
}

/** The same of one image, by its id, under these names and no others, whatever it is called here. */
export async function saveImageAs(
  ctx: OpContext,
  room: ImageRoom,
  id: string,
  names: readonly string[],
): Promise<Readable> {
  const tags = names.map((name) => withDefaultTag(parseReference(name)));
  const files = filesOf(ctx, room, [{ image: room.images.resolve(id), tags }]);
  return Readable.from(writeTar(files), { objectMode: false, signal: ctx.signal });
}

async function* announced(
  room: ImageRoom,
  selected: readonly Selected[],
  files: AsyncIterable<TarFile>,
): AsyncGenerator<TarFile> {
  yield* files;
  for (const { image } of selected) room.events.changed("save", image);
}

async function* filesOf(ctx: OpContext, room: ImageRoom, selected: readonly Selected[]): AsyncGenerator<TarFile> {
  const digests = [...new Set(selected.flatMap(({ image }) => contentOf(image).blobs))];
  using _lease = await room.leases.hold(digests);
  yield { kind: "directory", name: "blobs/" };
  yield { kind: "directory", name: "blobs/sha256/" };
  for (const digest of digests) {
    ctx.signal.throwIfAborted();
    const blob = await room.content.stat(digest);
    if (blob === undefined) throw imageErrors.IMAGE_LAYER_MISSING({ image: "to save", digest });
    yield { kind: "file", name: blobPath(digest), size: blob.size, body: await room.content.open(digest) };
  }
  yield document("index.json", indexOf(selected));
  yield document("manifest.json", selected.map(dockerManifestOf));
  yield document("oci-layout", { imageLayoutVersion: "1.0.0" });
  yield document("repositories", repositoriesOf(selected));
}

function document(name: string, json: unknown): TarFile {
  const body = Buffer.from(JSON.stringify(json));
  return { kind: "file", name, size: body.length, body };
}

/** A repository without a tag stands for all its tags, an id for the image without any (as `docker save` has it). */
function select(room: ImageRoom, refs: readonly string[]): readonly Selected[] {
  const chosen = new Map<string, { readonly image: ImageRecord; readonly tags: Reference[] }>();
  const add = (image: ImageRecord, tags: readonly Reference[]) => {
    const entry = chosen.get(image.id) ?? { image, tags: [] };
    for (const tag of tags)
      if (!entry.tags.some((other) => formatReference(other) === formatReference(tag))) entry.tags.push(tag);
    chosen.set(image.id, entry);
  };
  for (const ref of refs) {
    const all = taggedInRepository(room, ref);
    if (all.length > 0) {
      for (const { image, tag } of all) add(image, [tag]);
      continue;
    }
    const image = room.images.resolve(ref);
    const isId = image.id.startsWith(ref) || image.id.startsWith(`sha256:${ref}`);
    const reference = isId ? undefined : parseReference(ref);
    add(image, reference?.tag === undefined || reference.digest !== undefined ? [] : [reference]);
  }
  return [...chosen.values()];
}

function taggedInRepository(
  room: ImageRoom,
  ref: string,
): readonly { readonly image: ImageRecord; readonly tag: Reference }[] {
  if (/^(?:sha256:)?[0-9a-f]{64}$/.test(ref)) return [];
  const { domain, path, tag, digest } = parseReference(ref);
  if (tag !== undefined || digest !== undefined) return [];
  return room.images.list().flatMap((image) =>
    image.tags
      .map(parseReference)
      .filter((other) => other.domain === domain && other.path === path)
      .map((tag) => ({ image, tag })),
  );
}

function indexOf(selected: readonly Selected[]): ImageIndex {
  const manifests = selected.flatMap(({ image, tags }): Descriptor[] => {
    const descriptor: Descriptor = { ...image.manifest, platform: platformOf(image.config) };
    if (tags.length === 0) return [descriptor];
    return tags.map((tag) => ({
      ...descriptor,
      annotations: {
        "io.containerd.image.name": formatReference(tag),
        "org.opencontainers.image.ref.name": tag.tag ?? "latest",
      },
    }));
  });
  return { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests };
}

function dockerManifestOf({ image, tags }: Selected): object {
  return {
    Config: blobPath(image.id),
    RepoTags: tags.length === 0 ? null : tags.map(formatFamiliar),
    Layers: image.layers.map(({ blob }) => blobPath(blob.digest)),
    LayerSources: Object.fromEntries(
      image.layers.map(({ blob: { mediaType, size, digest }, diffId }) => [diffId, { mediaType, size, digest }]),
    ),
  };
}

/** Name -> tag -> top layer: what clients before manifest.json looked at. */
function repositoriesOf(selected: readonly Selected[]): object {
  const repositories: Record<string, Record<string, string>> = {};
  for (const { image, tags } of selected) {
    const top = chainId(image.config.rootfs.diff_ids).replace("sha256:", "");
    for (const tag of tags) (repositories[familiarName(tag)] ??= {})[tag.tag ?? "latest"] = top;
  }
  return repositories;
}

function checkPlatform(image: ImageRecord, platform: Platform): void {
  if (platformSatisfies(platformOf(image.config), platform)) return;
  throw imageErrors.IMAGE_PLATFORM_MISMATCH({
    reference: image.tags[0] ?? image.id,
    wanted: formatPlatform(normalisePlatform(platform)),
    actual: formatPlatform(platformOf(image.config)),
  });
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}
