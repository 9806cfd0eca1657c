/** A solve of BuildKit's `dockerfile.v0` as a build of this engine's builder: files by the session, progress as vertices. */
import type { OpContext } from "../base/op-context.ts";
import type { BuildRequest, BuildService, BuiltImage } from "../build/build-service.ts";
import { BuildCommandError } from "../build/errors.ts";
import { processError } from "../build/vertex-output.ts";
import type { ImageService } from "../images/image-service.ts";
import { type ClientContexts, clientContext, namedContexts } from "./client-context.ts";
import { exportToClient } from "./client-export.ts";
import type { ExportTarget } from "./exporters.ts";
import type { FrontendOptions } from "./frontend-options.ts";
import { statusCode, StatusError } from "./grpc/status.ts";
import { announceImage, normalised, pushImage } from "./image-export.ts";
import { clientServices } from "./session/client-services.ts";

export interface SolveParts {
  readonly builder: BuildService;
  readonly images: ImageService;
}

export interface DockerfileSolve extends ClientContexts {
  readonly options: FrontendOptions;
  readonly targets: readonly ExportTarget[];
}

/** What the exporter tells the client: `containerimage.digest` and its like. */
export type ExporterResponse = Readonly<Record<string, string>>;

export async function solveDockerfile(
  ctx: OpContext,
  parts: SolveParts,
  solve: DockerfileSolve,
): Promise<ExporterResponse> {
  const { options, session, status, targets } = solve;
  const source = await clientContext(ctx, solve);
  const names = [...new Set(targets.flatMap((target) => target.names))];
  let pushedDigest: string | undefined;
  const request: BuildRequest = {
    ...options.build,
    context: source,
    dockerfile: options.dockerfile,
    namedContexts: namedContexts(solve, options.namedContexts),
    tags: targets.flatMap((target) => (target.kind === "image" ? target.names : [])),
    auths: {},
    ...clientServices(session),
    listed: targets.some(({ kind }) => kind === "image"),
    use: async (ctx, built) => {
      pushedDigest = await exportTo(ctx, parts, solve, built);
    },
  };
  const image = await parts.builder.buildObserved(ctx, request, status).catch((error: unknown) => {
    throw error instanceof BuildCommandError ? new StatusError(statusCode.unknown, processError(error)) : error;
  });
  return {
    "containerimage.config.digest": image.id,
    "containerimage.digest": pushedDigest ?? image.id,
    ...(names.length === 0 ? {} : { "image.name": names.map(normalised).join(",") }),
  };
}

/** One after the other; the digest of what was pushed. */
async function exportTo(
  ctx: OpContext,
  { images }: SolveParts,
  { session, status, targets }: DockerfileSolve,
  built: BuiltImage,
): Promise<string | undefined> {
  let digest: string | undefined;
  for (const target of targets) {
    if (target.kind === "client") {
      await exportToClient(ctx, { images, session, status, target, built });
      continue;
    }
    announceImage(status, built.image, target.names);
    if (target.push) digest = await pushImage(ctx, { images, session, status }, target);
  }
  return digest;
}
