/** The directories that a build's client serves, as contexts: asked for when they are needed, told as steps of their own. */
import { Readable } from "node:stream";
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { BuildRequest, ContextSource, NamedContext } from "../build/build-service.ts";
import { vertexId } from "../build/vertex-output.ts";
import { readIgnoreFile } from "../dockerfile/dockerignore.ts";
import { buildKitErrors } from "./errors.ts";
import type { FrontendOptions } from "./frontend-options.ts";
import { ownStep, transferred } from "./own-step.ts";
import { syncedFiles, syncedTar } from "./session/file-sync.ts";
import type { ClientSession } from "./session/sessions.ts";
import { uploadedTar, uploadUrl } from "./session/upload.ts";
import type { StatusLog } from "./status-log.ts";

export interface ClientContexts {
  readonly options: Pick<FrontendOptions, "dockerfile" | "dockerfileDirectory" | "contextDirectory" | "remote">;
  readonly session: ClientSession;
  /** The session that has a directory: several builds of one client share theirs. */
  readonly sessionOf: (directory: string) => Promise<ClientSession>;
  readonly status: StatusLog;
}

/** The main context: the client's directories, a tar that it uploads, or what a URL names. */
export async function clientContext(
  ctx: OpContext,
  { options, session: own, sessionOf, status }: ClientContexts,
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

export function namedContexts(
  contexts: ClientContexts,
  options: FrontendOptions["namedContexts"],
): Readonly<Record<string, NamedContext>> {
  const named = Object.entries(options).map(([name, option]): [string, NamedContext] => {
    switch (option.kind) {
      case "image":
        return [name, option];
      case "remote":
        return [name, { kind: "files", source: option }];
      case "directory":
        return [name, { kind: "files", source: { open: (ctx) => openNamed(ctx, contexts, name, option.directory) } }];
    }
  });
  return Object.fromEntries(named);
}

/** A directory of the client's, without what its own .dockerignore names. */
async function openNamed(
  ctx: OpContext,
  { sessionOf, status }: ClientContexts,
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
