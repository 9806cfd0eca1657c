/** A solve of BuildKit's `dockerfile.v0` as a build of this engine's builder: files by the session, progress as vertices. */
import type { OpContext } from "../base/op-context.ts";
import type { BuildRequest, BuildService } from "../build/build-service.ts";
import { BuildCommandError } from "../build/errors.ts";
import { processError } from "../build/vertex-output.ts";
import type { ImageService } from "../images/image-service.ts";
import { type ClientContexts, clientContext, namedContexts } from "./client-context.ts";
import { type ExporterResponse, exportResult } from "./export-result.ts";
import type { ExportTarget } from "./exporters.ts";
import type { FrontendOptions } from "./frontend-options.ts";
import { statusCode, StatusError } from "./grpc/status.ts";
import { clientServices } from "./session/client-services.ts";

export interface SolveParts {
  readonly builder: BuildService;
  readonly images: ImageService;
}

export interface DockerfileSolve extends ClientContexts {
  readonly options: FrontendOptions;
  readonly targets: readonly ExportTarget[];
}

export interface SolvedBuild {
  readonly imageId: string;
  readonly response: ExporterResponse;
}

export async function solveDockerfile(ctx: OpContext, parts: SolveParts, solve: DockerfileSolve): Promise<SolvedBuild> {
  const { options, session, status, targets } = solve;
  const source = await clientContext(ctx, solve);
  let response: ExporterResponse = {};
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
      response = await exportResult(ctx, { images: parts.images, session, status }, targets, built);
    },
  };
  const image = await parts.builder.buildObserved(ctx, request, status).catch((error: unknown) => {
    throw error instanceof BuildCommandError ? new StatusError(statusCode.unknown, processError(error)) : error;
  });
  return { imageId: image.id, response };
}
