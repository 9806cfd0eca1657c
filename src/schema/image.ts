import { type Static, Type } from "typebox";

/** `sha256:<64 hex>`; the only algorithm that registries use. */
export const Digest = Type.String({ pattern: "^sha256:[0-9a-f]{64}$" });

/** What an OCI platform says; `variant` as in "arm64/v8". */
export const Platform = Type.Object({
  os: Type.String(),
  architecture: Type.String(),
  variant: Type.Optional(Type.String()),
});
export type Platform = Static<typeof Platform>;

/** OCI content descriptor (image-spec descriptor.md). */
export const Descriptor = Type.Object({
  mediaType: Type.String(),
  digest: Digest,
  /** Bytes. */
  size: Type.Integer({ minimum: 0 }),
  platform: Type.Optional(Platform),
  urls: Type.Optional(Type.Array(Type.String())),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
});
export type Descriptor = Static<typeof Descriptor>;

/** OCI image manifest, or Docker's schema 2, which has the same shape (image-spec manifest.md). */
export const Manifest = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.String()),
  config: Descriptor,
  layers: Type.Array(Descriptor),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
});
export type Manifest = Static<typeof Manifest>;

/** OCI image index, or Docker's manifest list (image-spec image-index.md). */
export const ImageIndex = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.String()),
  manifests: Type.Array(Descriptor),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
});
export type ImageIndex = Static<typeof ImageIndex>;

/** Docker's health check. Times in nanoseconds, as in Docker's JSON; 0 or absent means the default. */
export const Healthcheck = Type.Object({
  /** `["NONE"]`, `["CMD", ...argv]` or `["CMD-SHELL", script]`; empty inherits the image's. */
  Test: Type.Optional(Type.Array(Type.String())),
  Interval: Type.Optional(Type.Integer({ minimum: 0 })),
  Timeout: Type.Optional(Type.Integer({ minimum: 0 })),
  StartPeriod: Type.Optional(Type.Integer({ minimum: 0 })),
  StartInterval: Type.Optional(Type.Integer({ minimum: 0 })),
  Retries: Type.Optional(Type.Integer({ minimum: 0 })),
});
export type Healthcheck = Static<typeof Healthcheck>;

const EmptyObjects = Type.Record(Type.String(), Type.Object({}));

/** The execution parameters inside an image's configuration (image-spec config.md, with Docker's additions). */
export const ImageRunConfig = Type.Object({
  User: Type.Optional(Type.String()),
  ExposedPorts: Type.Optional(EmptyObjects),
  Env: Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()])),
  Entrypoint: Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()])),
  Cmd: Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()])),
  Volumes: Type.Optional(Type.Union([EmptyObjects, Type.Null()])),
  WorkingDir: Type.Optional(Type.String()),
  Labels: Type.Optional(Type.Union([Type.Record(Type.String(), Type.String()), Type.Null()])),
  StopSignal: Type.Optional(Type.String()),
  ArgsEscaped: Type.Optional(Type.Boolean()),
  Healthcheck: Type.Optional(Healthcheck),
  OnBuild: Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()])),
  Shell: Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()])),
});
export type ImageRunConfig = Static<typeof ImageRunConfig>;

export const HistoryEntry = Type.Object({
  created: Type.Optional(Type.String()),
  created_by: Type.Optional(Type.String()),
  author: Type.Optional(Type.String()),
  comment: Type.Optional(Type.String()),
  empty_layer: Type.Optional(Type.Boolean()),
});
export type HistoryEntry = Static<typeof HistoryEntry>;

/** OCI image configuration (image-spec config.md). Its digest is the image's id. */
export const ImageConfig = Type.Object({
  created: Type.Optional(Type.String()),
  author: Type.Optional(Type.String()),
  architecture: Type.String(),
  variant: Type.Optional(Type.String()),
  os: Type.String(),
  config: Type.Optional(ImageRunConfig),
  rootfs: Type.Object({ type: Type.Literal("layers"), diff_ids: Type.Array(Digest) }),
  history: Type.Optional(Type.Array(HistoryEntry)),
});
export type ImageConfig = Static<typeof ImageConfig>;

/** A layer of an image in the store: its blob and what it unpacks to. */
export const ImageLayer = Type.Object({
  /** Of the blob as stored (usually compressed). */
  blob: Descriptor,
  /** Digest of the uncompressed tar. */
  diffId: Digest,
  /** Unpacked bytes; absent until it has been unpacked once. */
  size: Type.Optional(Type.Integer({ minimum: 0 })),
});
export type ImageLayer = Static<typeof ImageLayer>;

/** An image in the store. */
export const ImageRecord = Type.Object({
  /** Digest of the configuration blob: Docker's image id. */
  id: Digest,
  /** The manifest, a blob of the store too. */
  manifest: Descriptor,
  layers: Type.Array(ImageLayer),
  config: ImageConfig,
  /** Normalised, e.g. "docker.io/library/debian:bookworm". */
  tags: Type.Array(Type.String()),
  /** "docker.io/library/debian@sha256:…", from pull and push. */
  repoDigests: Type.Array(Type.String()),
  /** Unpacked bytes of all layers. */
  size: Type.Integer({ minimum: 0 }),
  /** The image a local build or commit started from; what `docker history` and prune follow. */
  parentId: Type.Optional(Digest),
  /** A step of a build, kept for its cache; not listed unless asked for. */
  intermediate: Type.Boolean(),
  /** ISO 8601; when the newest tag was set. */
  lastTaggedAt: Type.Optional(Type.String()),
});
export type ImageRecord = Static<typeof ImageRecord>;
