/** `moby.buildkit.v1.Control`: what the engine is asked over `/grpc`. Only the fields that are used. */
import { bytes, count, type Decoded, flag, integer, list, listOf, map, message, nested, text } from "./message.ts";

export const Timestamp = message({ seconds: [1, integer], nanos: [2, integer] });

export const Platform = message({ Architecture: [1, text], OS: [2, text], Variant: [3, text] });

const Exporter = message({ Type: [1, text], Attrs: [2, map(text)] });

export const CacheEntry = message({ Type: [1, text], Attrs: [2, map(text)] });

const CacheOptions = message({ Exports: [4, listOf(CacheEntry)], Imports: [5, listOf(CacheEntry)] });

export const SolveRequest = message({
  Ref: [1, text],
  /** A build graph of the client's own making. */
  Definition: [2, bytes],
  ExporterDeprecated: [3, text],
  ExporterAttrsDeprecated: [4, map(text)],
  Session: [5, text],
  Frontend: [6, text],
  FrontendAttrs: [7, map(text)],
  Cache: [8, nested(CacheOptions)],
  Entitlements: [9, list(text)],
  Exporters: [13, listOf(Exporter)],
});
export type SolveRequest = Decoded<typeof SolveRequest>;

export const SolveResponse = message({ ExporterResponse: [1, map(text)] });

export const StatusRequest = message({ Ref: [1, text] });

const Vertex = message({
  digest: [1, text],
  inputs: [2, list(text)],
  name: [3, text],
  cached: [4, flag],
  started: [5, nested(Timestamp)],
  completed: [6, nested(Timestamp)],
  error: [7, text],
});
export type Vertex = Decoded<typeof Vertex>;

const VertexStatus = message({
  ID: [1, text],
  vertex: [2, text],
  name: [3, text],
  current: [4, integer],
  total: [5, integer],
  timestamp: [6, nested(Timestamp)],
  started: [7, nested(Timestamp)],
  completed: [8, nested(Timestamp)],
});
export type VertexStatus = Decoded<typeof VertexStatus>;

const VertexLog = message({
  vertex: [1, text],
  timestamp: [2, nested(Timestamp)],
  /** 1 or 2. */
  stream: [3, integer],
  msg: [4, bytes],
});
export type VertexLog = Decoded<typeof VertexLog>;

const VertexWarning = message({ vertex: [1, text], level: [2, integer], short: [3, bytes], detail: [4, list(bytes)] });
export type VertexWarning = Decoded<typeof VertexWarning>;

export const StatusResponse = message({
  vertexes: [1, listOf(Vertex)],
  statuses: [2, listOf(VertexStatus)],
  logs: [3, listOf(VertexLog)],
  warnings: [4, listOf(VertexWarning)],
});
export type StatusResponse = Decoded<typeof StatusResponse>;

const BuildkitVersion = message({ package: [1, text], version: [2, text], revision: [3, text] });

export const InfoResponse = message({ buildkitVersion: [1, nested(BuildkitVersion)] });

export const WorkerRecord = message({
  ID: [1, text],
  Labels: [2, map(text)],
  platforms: [3, listOf(Platform)],
  BuildkitVersion: [5, nested(BuildkitVersion)],
});

export const ListWorkersResponse = message({ record: [1, listOf(WorkerRecord)] });

export const UsageRecord = message({
  ID: [1, text],
  Mutable: [2, flag],
  InUse: [3, flag],
  Size: [4, integer],
  CreatedAt: [6, nested(Timestamp)],
  LastUsedAt: [7, nested(Timestamp)],
  UsageCount: [8, integer],
  Description: [9, text],
  RecordType: [10, text],
  Shared: [11, flag],
  Parents: [12, list(text)],
});
export type UsageRecord = Decoded<typeof UsageRecord>;

export const DiskUsageRequest = message({ filter: [1, list(text)], ageLimit: [2, integer] });
export const DiskUsageResponse = message({ record: [1, listOf(UsageRecord)] });

export const PruneRequest = message({
  filter: [1, list(text)],
  all: [2, flag],
  /** Nanoseconds. */
  keepDuration: [3, integer],
  reservedSpace: [4, integer],
  maxUsedSpace: [5, integer],
  minFreeSpace: [6, integer],
});
export type PruneRequest = Decoded<typeof PruneRequest>;

export const Empty = message({});

/** `google.rpc.Status`, with the details that a client shows (`errdefs.Source`: where in the Dockerfile). */
export const RpcStatus = message({
  code: [1, count],
  message: [2, text],
  details: [3, listOf(message({ type_url: [1, text], value: [2, bytes] }))],
});
