/** A solve of BuildKit's `dockerfile.v0` as a build of this engine's builder: files by the session, progress as vertices. */
import { Readable } from "node:stream";
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { BuildRequest, BuildService, BuiltImage, ContextSource, NamedContext } from "../build/build-service.ts";
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
import { ownStep, transferred } from "./own-step.ts";
import { clientServices } from "./session/client-services.ts";
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
    namedContexts: namedContexts(solve),
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
  const found = await transfer(
    status,
    `[internal] load build definition from ${path}`,
    "transferring dockerfile:",
    async (progress) => {
      const followPaths = [path, ownIgnoreFile, ...alternative];
      const request = { name: options.dockerfileDirectory, followPaths, progress };
      const files = await syncedFiles(ctx, dockerfileSession, request, textLimit);
      const text = files.get(path) ?? files.get("dockerfile");
      if (text === undefined) throw buildKitErrors.BUILDKIT_DOCKERFILE_NOT_FOUND({ path });
      return { text: text.toString("utf8"), ignore: files.get(ownIgnoreFile) };
    },
  );
  const ignore = await transfer(status, "[internal] load .dockerignore", "transferring context:", async (progress) => {
    if (found.ignore !== undefined) return found.ignore;
    const request = { name: options.contextDirectory, followPaths: [".dockerignore"], progress };
    return (await syncedFiles(ctx, session, request, textLimit)).get(".dockerignore");
  });
  const source: ContextSource = {
    dockerfile: found.text,
    open: async (ctx) =>
      openContext(ctx, session, status, "[internal] load build context", {
        name: options.contextDirectory,
        excludePatterns: ignorePatterns(ignore),
      }),
  };
  return { source };
}

function namedContexts(solve: DockerfileSolve): Readonly<Record<string, NamedContext>> {
  const named = Object.entries(solve.options.namedContexts).map(([name, option]): [string, NamedContext] => {
    switch (option.kind) {
      case "image":
        return [name, option];
      case "remote":
        return [name, { kind: "files", source: option }];
      case "directory":
        return [name, { kind: "files", source: { open: (ctx) => openNamed(ctx, solve, name, option.directory) } }];
    }
  });
  return Object.fromEntries(named);
}

/** A directory of the client's, without what its own .dockerignore names. */
async function openNamed(
  ctx: OpContext,
  { sessionOf, status }: DockerfileSolve,
  name: string,
  directory: string,
): Promise<Readable> {
  const session = await sessionOf(directory);
  const ignore = await transfer(status, `[context ${name}] load .dockerignore`, "transferring", (progress) =>
    syncedFiles(ctx, session, { name: directory, followPaths: [".dockerignore"], progress }, textLimit),
  );
  return openContext(ctx, session, status, `[context ${name}] load from client`, {
    name: directory,
    excludePatterns: ignorePatterns(ignore.get(".dockerignore")),
  });
}

function ignorePatterns(file: Buffer | undefined): readonly string[] {
  return file === undefined ? [] : readIgnoreFile(file.toString("utf8"));
}

/** A Dockerfile or .dockerignore beyond this is none. */
const textLimit = 4 << 20;

function openContext(
  ctx: OpContext,
  session: ClientSession,
  status: StatusLog,
  step: string,
  request: { readonly name: string; readonly excludePatterns: readonly string[] },
): Readable {
  const pieces = async function* (): AsyncGenerator<Buffer> {
    const id = vertexId();
    status.started({ id, name: step, inputs: [] });
    const { report, done } = transferred((part, progress) => status.part(id, part, progress), "transferring context:");
    let error: string | undefined = "context canceled";
    try {
      yield* syncedTar(ctx, session, { ...request, progress: report });
      error = undefined;
    } catch (thrown) {
      error = messageOf(thrown);
      throw thrown;
    } finally {
      done();
      status.completed(id, { cached: false, ...(error === undefined ? {} : { error }) });
    }
  };
  return Readable.from(pieces(), { objectMode: false, highWaterMark: 1 << 20 });
}

/** A step of the builder's own, with a line for what it transfers. */
async function transfer<T>(
  status: StatusLog,
  name: string,
  part: string,
  work: (progress: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  return await ownStep(status, name, async (tell) => {
    let current = 0;
    const result = await work((bytes) => {
      current = bytes;
    });
    tell(part, { current, done: true });
    return result;
  });
}
