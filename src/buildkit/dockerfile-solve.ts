/** A solve of BuildKit's `dockerfile.v0` as a build of this engine's builder: files by the session, progress as vertices. */
import { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { BuildRequest, BuildService, BuiltImage, ContextSource } from "../build/build-service.ts";
import { BuildCommandError } from "../build/errors.ts";
import { processError, vertexId } from "../build/vertex-output.ts";
import { readIgnoreFile } from "../dockerfile/dockerignore.ts";
import type { ImageService } from "../images/image-service.ts";
import { exportToClient } from "./client-export.ts";
import { buildKitErrors } from "./errors.ts";
import type { ExportTarget } from "./exporters.ts";
import type { FrontendOptions } from "./frontend-options.ts";
import { statusCode, StatusError } from "./grpc/status.ts";
import { announceImage, normalised, pushImage } from "./image-export.ts";
import { ownStep } from "./own-step.ts";
import { registryCredentials } from "./session/credentials.ts";
import { syncedFiles, syncedTar } from "./session/file-sync.ts";
import type { ClientSession } from "./session/sessions.ts";
import { uploadedTar, uploadUrl } from "./session/upload.ts";
import type { StatusLog } from "./status-log.ts";

export interface SolveParts {
  readonly builder: BuildService;
  readonly images: ImageService;
}

export interface DockerfileSolve {
  readonly options: FrontendOptions;
  readonly session: ClientSession;
  /** The session that has a directory: several builds of one client share theirs. */
  readonly sessionOf: (directory: string) => Promise<ClientSession>;
  readonly status: StatusLog;
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
  const source = await contextOf(ctx, solve);
  const names = [...new Set(targets.flatMap((target) => target.names))];
  let pushedDigest: string | undefined;
  const request: BuildRequest = {
    ...options.build,
    context: source,
    dockerfile: options.dockerfile,
    tags: targets.flatMap((target) => (target.kind === "image" ? target.names : [])),
    auths: {},
    askAuth: (ctx, domain) => registryCredentials(ctx, session, domain),
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

async function contextOf(
  ctx: OpContext,
  { options, session: own, sessionOf, status }: DockerfileSolve,
): Promise<BuildRequest["context"]> {
  if (options.remote.startsWith(uploadUrl)) return { tar: uploadedTar(ctx, own, new URL(options.remote)) };
  if (options.remote !== "") return { remote: options.remote };
  const { dockerfile: path } = options;
  const dockerfileSession = await sessionOf(options.dockerfileDirectory);
  const session = await sessionOf(options.contextDirectory);
  const ownIgnoreFile = `${path}.dockerignore`;
  const alternative = path === "Dockerfile" ? ["dockerfile"] : [];
  const found = await internal(status, `load build definition from ${path}`, "transferring dockerfile:", (progress) =>
    syncedFiles(
      ctx,
      dockerfileSession,
      { name: options.dockerfileDirectory, followPaths: [path, ownIgnoreFile, ...alternative], progress },
      textLimit,
    ).then((files) => {
      const text = files.get(path) ?? files.get("dockerfile");
      if (text === undefined) throw buildKitErrors.BUILDKIT_DOCKERFILE_NOT_FOUND({ path });
      return { text: text.toString("utf8"), ignore: files.get(ownIgnoreFile) };
    }),
  );
  const ignore = await internal(status, "load .dockerignore", "transferring context:", async (progress) => {
    if (found.ignore !== undefined) return found.ignore;
    const request = { name: options.contextDirectory, followPaths: [".dockerignore"], progress };
    return (await syncedFiles(ctx, session, request, textLimit)).get(".dockerignore");
  });
  const source: ContextSource = {
    dockerfile: found.text,
    open: async (ctx) =>
      openContext(ctx, session, status, {
        name: options.contextDirectory,
        excludePatterns: ignore === undefined ? [] : readIgnoreFile(ignore.toString("utf8")),
      }),
  };
  return { source };
}

/** A Dockerfile or .dockerignore beyond this is none. */
const textLimit = 4 << 20;

function openContext(
  ctx: OpContext,
  session: ClientSession,
  status: StatusLog,
  request: { readonly name: string; readonly excludePatterns: readonly string[] },
): Readable {
  const pieces = async function* (): AsyncGenerator<Buffer> {
    const id = vertexId();
    status.started({ id, name: "[internal] load build context", inputs: [] });
    let bytes = 0;
    let told = 0;
    const progress = (now: number): void => {
      bytes = now;
      if (Date.now() - told < progressEveryMs) return;
      told = Date.now();
      status.part(id, "transferring context:", { current: bytes, done: false });
    };
    let error: string | undefined = "context canceled";
    try {
      yield* syncedTar(ctx, session, { ...request, progress });
      error = undefined;
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.message : String(thrown);
      throw thrown;
    } finally {
      status.part(id, "transferring context:", { current: bytes, done: true });
      status.completed(id, { cached: false, ...(error === undefined ? {} : { error }) });
    }
  };
  return Readable.from(pieces(), { objectMode: false, highWaterMark: 1 << 20 });
}

const progressEveryMs = 100;

/** A step of the builder's own, with a line for what it transfers. */
async function internal<T>(
  status: StatusLog,
  name: string,
  part: string,
  work: (progress: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  return await ownStep(status, `[internal] ${name}`, async (tell) => {
    let current = 0;
    const result = await work((bytes) => {
      current = bytes;
    });
    tell(part, { current, done: true });
    return result;
  });
}
