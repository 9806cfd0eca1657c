/** The image room over fakes, and images to feed it: no root, no registry. */
import { Readable } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { tarOf, type TestEntry } from "../../archive/fake/tar-builder.ts";
import { background, type OpContext } from "../../base/op-context.ts";
import type { ProgressEvent } from "../../base/progress.ts";
import { MemoryContentStore } from "../../content/fake/memory-content-store.ts";
import { FakeHost } from "../../host/fake/fake-host.ts";
import type { ImageConfig, Manifest, Platform } from "../../schema/image.ts";
import { DirectorySnapshotter } from "../../snapshots/fake/directory-snapshotter.ts";
import { EventBus } from "../../state/events.ts";
import { MemoryStore } from "../../state/fake/memory-store.ts";
import { sha256 } from "../chain-id.ts";
import { createImageService, type EngineImages, type ImageServiceParts } from "../create-image-service.ts";
import { MediaType } from "../media-types.ts";

export interface TestRoom extends AsyncDisposable {
  readonly ctx: OpContext;
  readonly images: EngineImages;
  readonly content: MemoryContentStore;
  readonly snapshotter: DirectorySnapshotter;
  readonly store: MemoryStore;
  readonly host: FakeHost;
  /** "action actor". */
  events(): readonly string[];
  readonly users: Map<string, { readonly instanceId: string; readonly running: boolean }[]>;
  /** Progress of everything: "id status" or the stream's text. */
  readonly lines: string[];
  readonly progress: (event: ProgressEvent) => void;
  blobs(): Promise<readonly string[]>;
}

export async function openTestRoom(options: Partial<ImageServiceParts> = {}): Promise<TestRoom> {
  const content = new MemoryContentStore();
  const snapshotter = await DirectorySnapshotter.create();
  const store = new MemoryStore();
  const host = new FakeHost();
  const bus = new EventBus();
  const users: TestRoom["users"] = new Map();
  const lines: string[] = [];
  const images = createImageService({
    store,
    content,
    snapshotter,
    host,
    events: bus,
    users: (id) => users.get(id) ?? [],
    workDir: `${snapshotter.root}/work`,
    config: { registryMirrors: [], insecureRegistries: [], maxConcurrentDownloads: 3, maxConcurrentUploads: 5 },
    retry: { attempts: 3, backoff: { initialMs: 1, maxMs: 4, factor: 2 }, maxRetryAfterMs: 20 },
    ...options,
  });
  return {
    ctx: background(),
    images,
    content,
    snapshotter,
    store,
    host,
    users,
    lines,
    events: () => bus.recent().map(({ action, actorId }) => `${action} ${actorId}`),
    progress: ({ id, status, stream }) => {
      const line = stream?.trimEnd() ?? [id, status].filter(Boolean).join(" ");
      if (line !== "" && lines.at(-1) !== line) lines.push(line);
    },
    blobs: async () => {
      const digests: string[] = [];
      for await (const { digest } of content.list()) digests.push(digest);
      return digests;
    },
    async [Symbol.asyncDispose]() {
      images[Symbol.dispose]();
      await snapshotter[Symbol.asyncDispose]();
      await content[Symbol.asyncDispose]();
    },
  };
}

/** An image with all its documents, as a registry or an archive has it. */
export interface TestImage {
  readonly config: ImageConfig;
  readonly configBytes: Buffer;
  readonly id: string;
  readonly manifestBytes: Buffer;
  readonly manifestDigest: string;
  readonly layers: readonly { readonly bytes: Buffer; readonly digest: string; readonly tar: Buffer }[];
}

/** `layers`: the files of each, bottom to top. */
export function testImage(
  layers: readonly (readonly TestEntry[])[],
  options: {
    readonly compression?: "none" | "gzip" | "zstd";
    readonly platform?: Platform;
    readonly labels?: Record<string, string>;
    readonly created?: string;
  } = {},
): TestImage {
  const { compression = "gzip", platform = { os: "linux", architecture: "amd64" } } = options;
  const blobs = layers.map((entries) => {
    const tar = tarOf(...entries);
    const bytes = compression === "none" ? tar : compression === "gzip" ? gzipSync(tar) : zstdCompressSync(tar);
    return { bytes, digest: sha256(bytes), tar };
  });
  const created = options.created ?? "2024-01-02T03:04:05Z";
  const config: ImageConfig = {
    created,
    ...platform,
    config: { Cmd: ["sh"], ...(options.labels === undefined ? {} : { Labels: options.labels }) },
    rootfs: { type: "layers", diff_ids: blobs.map(({ tar }) => sha256(tar)) },
    history: [
      ...blobs.map((_, index) => ({ created, created_by: `layer ${index}` })),
      { created, created_by: 'CMD ["sh"]', empty_layer: true },
    ],
  };
  const configBytes = Buffer.from(JSON.stringify(config));
  const layerType = { none: MediaType.ociLayer, gzip: MediaType.ociLayerGzip, zstd: MediaType.ociLayerZstd }[
    compression
  ];
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: { mediaType: MediaType.ociConfig, digest: sha256(configBytes), size: configBytes.length },
    layers: blobs.map(({ bytes, digest }) => ({ mediaType: layerType, digest, size: bytes.length })),
  };
  const manifestBytes = Buffer.from(JSON.stringify(manifest));
  return {
    config,
    configBytes,
    id: sha256(configBytes),
    manifestBytes,
    manifestDigest: sha256(manifestBytes),
    layers: blobs,
  };
}

/** As `docker save` wrote before 25: one manifest.json, layers in directories. */
export function dockerArchive(image: TestImage, tags: readonly string[]): Readable {
  const configName = `${image.id.slice("sha256:".length)}.json`;
  const names = image.layers.map((_, index) => `layer${index}/layer.tar`);
  const manifest = [{ Config: configName, RepoTags: tags, Layers: names }];
  return Readable.from([
    tarOf(
      ...image.layers.map(({ bytes }, index) => ({ name: names[index] ?? "", data: bytes })),
      { name: configName, data: image.configBytes },
      { name: "manifest.json", data: JSON.stringify(manifest) },
    ),
  ]);
}

export async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
