/** `moby.buildkit.v1.Control`: builds from their request to their exporter's answer, and what there is to know of the builder. */
import type { OpContext } from "../base/op-context.ts";
import type { BuildService } from "../build/build-service.ts";
import type { ImageService } from "../images/image-service.ts";
import type { Platform } from "../schema/image.ts";
import { cacheUsage, pruneFilters } from "./cache-usage.ts";
import { buildKitErrors } from "./errors.ts";
import { tunnelledSession } from "./session/tunnelled-session.ts";
import { type Method, serverStream, unary } from "./grpc/server.ts";
import type { Job, Jobs } from "./jobs.ts";
import type { Sessions } from "./session/sessions.ts";
import { dockerfileFrontend, type FrontendRequest } from "./frontend-request.ts";
import {
  DiskUsageRequest,
  DiskUsageResponse,
  Empty,
  InfoResponse,
  ListWorkersResponse,
  PruneRequest,
  SolveRequest,
  SolveResponse,
  StatusRequest,
  StatusResponse,
  UsageRecord,
  type WorkerRecord,
} from "./wire/control.ts";
import type { Decoded } from "./wire/message.ts";

export interface BuildKitParts {
  readonly builder: BuildService;
  readonly images: ImageService;
  readonly sessions: Sessions;
  readonly engine: EngineFacts;
}

export interface EngineFacts {
  /** Stable. */
  readonly id: string;
  readonly version: string;
  readonly platform: Platform;
  /** What its images are unpacked by. */
  readonly snapshotter: string;
}

/** Runs a front end in a build; answers the result's reference. */
export type SolveIn = (ctx: OpContext, job: Job, request: FrontendRequest) => Promise<string>;

export function controlMethods(parts: BuildKitParts, jobs: Jobs, solveIn: SolveIn): Readonly<Record<string, Method>> {
  const { builder, engine } = parts;
  return {
    Info: unary(Empty, InfoResponse, () => ({ buildkitVersion: versionOf(engine) })),
    ListWorkers: unary(Empty, ListWorkersResponse, () => ({ record: [workerOf(engine)] })),
    Solve: unary(SolveRequest, SolveResponse, async ({ ctx }, request) => {
      if (request.Definition.length > 0) throw buildKitErrors.BUILDKIT_UNSUPPORTED({ what: "a build graph (LLB)" });
      const { Frontend: frontend, FrontendAttrs: options } = request;
      // Without a front end the client itself chooses one, over the bridge.
      const work =
        frontend === ""
          ? undefined
          : (ctx: OpContext, job: Job) => solveIn(ctx, job, { frontend, options, inputs: {}, imports: [] });
      return { ExporterResponse: await jobs.run(ctx, request, work) };
    }),
    Session: (call, requests) => tunnelledSession(parts.sessions, call, requests),
    Status: serverStream(StatusRequest, StatusResponse, async function* ({ ctx }, { Ref }) {
      const job = await jobs.get(ctx, Ref);
      yield* job.status.read(ctx.signal);
    }),
    DiskUsage: unary(DiskUsageRequest, DiskUsageResponse, async ({ ctx }) => ({
      record: (await cacheUsage(ctx, parts)).map(({ record }) => record),
    })),
    Prune: serverStream(PruneRequest, UsageRecord, async function* ({ ctx }, request) {
      const before = await cacheUsage(ctx, parts);
      await builder.pruneCache(ctx, { all: request.all, filters: pruneFilters(request) });
      const left = new Set((await cacheUsage(ctx, parts)).map(({ id }) => id));
      for (const { id, record } of before) if (!left.has(id)) yield record;
    }),
  };
}

export function workerOf(engine: EngineFacts): Partial<Decoded<typeof WorkerRecord>> {
  const { os, architecture, variant = "" } = engine.platform;
  return {
    ID: engine.id,
    Labels: {
      "org.mobyproject.buildkit.worker.frontend": dockerfileFrontend,
      // Without it, buildx asks for no output but images.
      "org.mobyproject.buildkit.worker.snapshotter": engine.snapshotter,
    },
    platforms: [{ OS: os, Architecture: architecture, Variant: variant }],
    BuildkitVersion: versionOf(engine),
  };
}

function versionOf({ version }: EngineFacts) {
  return { package: "berth", version: `v${version}`, revision: "" };
}
