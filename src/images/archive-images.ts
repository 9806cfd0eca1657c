/** What images an archive holds: by Docker's manifest.json, or by an OCI layout's index.json. */
import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import type { OpContext } from "../base/op-context.ts";
import type { Descriptor, ImageConfig, ImageLayer, Platform } from "../schema/image.ts";
import { blobCompression } from "./compression.ts";
import { parseImageConfig, parseJson, parseManifestDocument } from "./documents.ts";
import { imageErrors } from "./errors.ts";
import type { ImageArchive } from "./image-archive.ts";
import type { ImageRoom } from "./image-room.ts";
import { isImageConfigType, isIndexType, layerMediaType, MediaType } from "./media-types.ts";
import { formatPlatform, matchingManifests, normalisePlatform, platformOf, platformSatisfies } from "./platform.ts";
import { type Reference, parseReference, withDefaultTag } from "./reference.ts";
import { synthesiseManifest } from "./store-image.ts";

/** An image found in an archive; its blobs are in the store. */
export interface ArchivedImage {
  readonly id: string;
  readonly config: ImageConfig;
  readonly manifest: Descriptor;
  readonly layers: readonly ImageLayer[];
  readonly tags: readonly Reference[];
}

const DockerManifest = Type.Array(
  Type.Object({
    Config: Type.String(),
    RepoTags: Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()])),
    Layers: Type.Union([Type.Array(Type.String()), Type.Null()]),
  }),
);
type DockerManifest = Static<typeof DockerManifest>;

/** Before Docker 1.10 an archive had a directory for each image of a chain, and no manifest. */
const layerOfVersion1 = /^[0-9a-f]{64}\/layer\.tar$/;
const MAX_INDEX_DEPTH = 4;
const NAME_ANNOTATIONS = ["io.containerd.image.name", "org.opencontainers.image.ref.name"] as const;

/** Throws `ARCHIVE_NOT_AN_IMAGE`, `ARCHIVE_TOO_OLD`, or what is wrong with a document or its platform. `platform` undefined takes what is there. */
export async function imagesOfArchive(
  ctx: OpContext,
  room: ImageRoom,
  archive: ImageArchive,
  platform: Platform | undefined,
): Promise<readonly ArchivedImage[]> {
  const oci = archive.find("index.json") === undefined ? [] : await ociImages(room, archive, platform);
  if (archive.find("manifest.json") === undefined) {
    if (oci.length > 0) return oci;
    if (archive.names().some((name) => layerOfVersion1.test(name))) throw imageErrors.ARCHIVE_TOO_OLD({});
    throw imageErrors.ARCHIVE_NOT_AN_IMAGE({ reason: "it has neither manifest.json nor an index.json with images" });
  }
  const docker = await dockerImages(ctx, room, archive, oci);
  if (platform === undefined) return docker;
  const suitable = docker.filter(({ config }) => platformSatisfies(platformOf(config), platform));
  const [first] = docker;
  if (suitable.length === 0 && first !== undefined) {
    throw imageErrors.IMAGE_PLATFORM_MISMATCH({
      reference: first.id,
      wanted: formatPlatform(normalisePlatform(platform)),
      actual: formatPlatform(platformOf(first.config)),
    });
  }
  return suitable;
}

/** By manifest.json. Where the archive is an OCI layout too, its manifests are kept, so that digests stay what they were. */
async function dockerImages(
  ctx: OpContext,
  room: ImageRoom,
  archive: ImageArchive,
  oci: readonly ArchivedImage[],
): Promise<readonly ArchivedImage[]> {
  const json = parseJson(await archive.document("manifest.json"), "manifest.json of the archive");
  if (!Check(DockerManifest, json))
    throw imageErrors.ARCHIVE_NOT_AN_IMAGE({ reason: "its manifest.json is malformed" });
  const images: ArchivedImage[] = [];
  for (const entry of json) {
    const tags = (entry.RepoTags ?? []).map((tag) => withDefaultTag(parseReference(tag)));
    const { digest } = archive.blob(entry.Config);
    const known = oci.find((image) => image.id === digest && sameLayers(image, entry, archive));
    images.push(known === undefined ? await dockerImage(ctx, room, archive, entry, tags) : { ...known, tags });
  }
  return images;
}

function sameLayers(image: ArchivedImage, entry: DockerManifest[number], archive: ImageArchive): boolean {
  const layers = entry.Layers ?? [];
  return (
    layers.length === image.layers.length &&
    layers.every((name, index) => archive.find(name)?.digest === image.layers[index]?.blob.digest)
  );
}

async function dockerImage(
  ctx: OpContext,
  room: ImageRoom,
  archive: ImageArchive,
  entry: DockerManifest[number],
  tags: readonly Reference[],
): Promise<ArchivedImage> {
  const { digest: id, size } = archive.blob(entry.Config);
  const claimed = /^([0-9a-f]{64})\.json$/.exec(entry.Config)?.[1];
  if (claimed !== undefined && id !== `sha256:${claimed}`) {
    throw imageErrors.ARCHIVE_NOT_AN_IMAGE({ reason: `"${entry.Config}" has the digest ${id}` });
  }
  const config = parseImageConfig(await archive.document(entry.Config), entry.Config);
  const names = entry.Layers ?? [];
  checkLayerCount(entry.Config, names.length, config);
  const layers: ImageLayer[] = [];
  for (const [index, name] of names.entries()) {
    const blob = archive.blob(name);
    const mediaType = layerMediaType(await blobCompression(room.content, blob.digest));
    layers.push({ blob: { mediaType, ...blob }, diffId: config.rootfs.diff_ids[index] ?? "" });
  }
  const bytes = synthesiseManifest({ mediaType: MediaType.ociConfig, digest: id, size }, layers);
  const manifest = await room.content.put(ctx, bytes);
  return { id, config, layers, tags, manifest: { mediaType: MediaType.ociManifest, ...manifest } };
}

async function ociImages(
  room: ImageRoom,
  archive: ImageArchive,
  platform: Platform | undefined,
): Promise<readonly ArchivedImage[]> {
  const top = parseManifestDocument(
    await archive.document("index.json"),
    MediaType.ociIndex,
    "the archive's index.json",
  );
  if (top.kind !== "index") throw imageErrors.ARCHIVE_NOT_AN_IMAGE({ reason: "its index.json is not an index" });
  const wanted = platform ?? room.platform;
  const images = new Map<string, ArchivedImage>();
  for (const [name, descriptors] of groupByName(top.index.manifests)) {
    const best = matchingManifests(descriptors, wanted)[0] ?? (platform === undefined ? descriptors[0] : undefined);
    if (best === undefined) throw noPlatform(wanted, descriptors);
    const image = await ociImage(archive, best, wanted, platform !== undefined);
    if (image === undefined) continue;
    const tag = tagOf(name);
    const known = images.get(image.id)?.tags ?? [];
    images.set(image.id, { ...image, tags: tag === undefined ? known : [...known, tag] });
  }
  return [...images.values()];
}

/** Entries of one name are one image's platforms; each without a name stands for itself. */
function groupByName(manifests: readonly Descriptor[]): readonly (readonly [string, readonly Descriptor[]])[] {
  const named = Map.groupBy(manifests, ({ annotations, digest }) => {
    const key = NAME_ANNOTATIONS.find((annotation) => annotations?.[annotation] !== undefined);
    return key === undefined ? `@${digest}` : (annotations?.[key] ?? "");
  });
  return [...named];
}

/** A full name; a bare word is only a tag of no repository that we know (skopeo's oci:DIR:TAG). */
function tagOf(name: string): Reference | undefined {
  return /[:/]/.test(name) && !name.startsWith("@") ? withDefaultTag(parseReference(name)) : undefined;
}

/** Undefined for what is no image (an attestation, an artifact). */
async function ociImage(
  archive: ImageArchive,
  descriptor: Descriptor,
  wanted: Platform,
  strict: boolean,
): Promise<ArchivedImage | undefined> {
  let current = descriptor;
  for (let depth = 0; depth <= MAX_INDEX_DEPTH; depth += 1) {
    const bytes = await archive.document(blobName(current.digest));
    const parsed = parseManifestDocument(bytes, current.mediaType, current.digest);
    if (parsed.kind === "manifest") {
      const { manifest } = parsed;
      if (!isImageConfigType(manifest.config.mediaType)) return undefined;
      const config = parseImageConfig(await archive.document(blobName(manifest.config.digest)), current.digest);
      checkLayerCount(current.digest, manifest.layers.length, config);
      const layers = manifest.layers.map((blob, index): ImageLayer => {
        archive.blob(blobName(blob.digest));
        return { blob, diffId: config.rootfs.diff_ids[index] ?? "" };
      });
      const { digest } = current;
      const stored = { mediaType: parsed.mediaType, digest, size: bytes.length };
      return { id: manifest.config.digest, config, layers, manifest: stored, tags: [] };
    }
    const all = parsed.index.manifests;
    // Platforms that were left out of the archive are named in its index all the same.
    const present = all.filter(({ digest }) => archive.find(blobName(digest)) !== undefined);
    const next = matchingManifests(present, wanted)[0] ?? (strict ? undefined : present.find(isNoAttestation));
    if (next === undefined) throw noPlatform(wanted, all);
    current = next;
  }
  throw imageErrors.ARCHIVE_NOT_AN_IMAGE({ reason: "its indexes are nested too deep" });
}

function isNoAttestation({ platform, mediaType }: Descriptor): boolean {
  return platform?.os !== "unknown" || isIndexType(mediaType);
}

function checkLayerCount(name: string, layers: number, config: ImageConfig): void {
  const diffIds = config.rootfs.diff_ids.length;
  if (layers !== diffIds) throw imageErrors.IMAGE_LAYERS_MISMATCH({ name, layers, diffIds });
}

function noPlatform(wanted: Platform, descriptors: readonly Descriptor[]): Error {
  const available = descriptors.flatMap(({ platform }) => (platform === undefined ? [] : [formatPlatform(platform)]));
  return imageErrors.NO_MATCHING_PLATFORM({ wanted: formatPlatform(normalisePlatform(wanted)), available });
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}
