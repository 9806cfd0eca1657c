/** The build context: taken into the build's own directory, its Dockerfile read, ignored files taken out. */
import { open, realpath } from "node:fs/promises";
import { dirname, join, posix, relative } from "node:path";
import type { Readable } from "node:stream";
import type { ConfinedRoot, ConfinedRoots } from "../../archive/confined-root.ts";
import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { IgnorePatterns, readIgnoreFile } from "../../dockerfile/dockerignore.ts";
import type { Dockerfile } from "../../dockerfile/instruction.ts";
import { parseDockerfile } from "../../dockerfile/parse.ts";
import { mkdir, rm } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";
import type { BuildRequest, ContextSource, FilesSource } from "../build-service.ts";
import { buildErrors } from "../errors.ts";
import type { ContextFiles, PresentFiles } from "../source-trees.ts";
import { excludedPaths, type ListDirectory, listBelow, resolvePath } from "../tree-paths.ts";
import { isUrl, openUrl } from "./download.ts";
import { cloneRepository, isGitUrl } from "./git.ts";
import { SpooledContext } from "./spooled-context.ts";

export interface IntakeParts {
  readonly roots: ConfinedRoots;
  readonly host: Host;
}

export interface BuildContext {
  readonly dockerfile: Dockerfile;
  /** Undefined when all there is is a Dockerfile. */
  readonly files: ContextFiles | undefined;
}

/** Reads the request's context into `directory`, which is the build's own. */
export async function takeContext(
  ctx: OpContext,
  parts: IntakeParts,
  request: Pick<BuildRequest, "context" | "dockerfile">,
  directory: string,
): Promise<BuildContext> {
  const target = join(directory, "context");
  await mkdir(target, { mode: 0o755 });
  const dockerfile = request.dockerfile === "" ? "Dockerfile" : request.dockerfile;
  const { context } = request;
  if ("tar" in context) return await fromTar(ctx, parts, context.tar, target, dockerfile);
  if ("source" in context) return fromSource(parts, context.source, target, dockerfile);
  if ("directory" in context) return await fromDirectory(ctx, parts, context.directory, target, dockerfile);
  return await fromRemote(ctx, parts, context.remote, target, dockerfile);
}

/** Its files are taken by the first step that needs one. */
function fromSource(parts: IntakeParts, source: ContextSource, target: string, dockerfile: string): BuildContext {
  return { dockerfile: parseDockerfile(source.dockerfile, dockerfile), files: laterFiles(parts, source, target) };
}

/** Into `target`, which is made. */
export function laterFiles(parts: IntakeParts, source: FilesSource, target: string): ContextFiles {
  const take = async (ctx: OpContext): Promise<PresentFiles> => {
    await mkdir(target, { recursive: true, mode: 0o755 });
    if ("remote" in source) {
      return { kind: "directory", directory: await takeRemote(ctx, parts, source.remote, target) };
    }
    await using root = await parts.roots.open(ctx, target);
    const tar = `${target}.tar`;
    const stream = await source.open(ctx);
    try {
      const members = await spoolTar(ctx, root, stream, tar);
      if (members !== undefined) {
        return { kind: "tar", tar: await SpooledContext.open(parts, { tar, unpackInto: target, members }) };
      }
      await root.extract(ctx, { source: { path: tar }, compression: "none", into: "/", semantics: "plain" });
    } finally {
      stream.destroy();
    }
    await rm(tar, { force: true });
    return { kind: "directory", directory: target };
  };
  return { kind: "later", take };
}

/** The directory that has its files. */
async function takeRemote(ctx: OpContext, parts: IntakeParts, remote: string, target: string): Promise<string> {
  if (isGitUrl(remote)) return await cloneRepository(ctx, parts.host, remote, target);
  await using root = await parts.roots.open(ctx, target);
  const { body } = await openUrl(ctx, remote);
  try {
    await unpack(ctx, root, body);
  } finally {
    body.destroy();
  }
  return target;
}

async function fromTar(
  ctx: OpContext,
  parts: IntakeParts,
  tar: Readable,
  target: string,
  dockerfile: string,
): Promise<BuildContext> {
  await using root = await parts.roots.open(ctx, target);
  const spool = `${target}.tar`;
  const members = await spoolTar(ctx, root, tar, spool);
  if (members === undefined) {
    await root.extract(ctx, { source: { path: spool }, compression: "none", into: "/", semantics: "plain" });
    await rm(spool, { force: true });
    return await readContext(ctx, root, target, dockerfile);
  }
  const spooled = await SpooledContext.open(parts, { tar: spool, unpackInto: target, members });
  try {
    const { text, path } = await readDockerfile(ctx, spooledReader(spooled), dockerfile);
    const parsed = parseDockerfile(text, path);
    for (const ignored of await ignoredPaths(ctx, spooledReader(spooled), spooled.list, path)) spooled.remove(ignored);
    return { dockerfile: parsed, files: { kind: "tar", tar: spooled } };
  } catch (error) {
    await spooled[Symbol.asyncDispose]();
    throw error;
  }
}

/** As it came: an archive inside the context is nothing to be unpacked before a step asks for it. */
async function spoolTar(ctx: OpContext, root: ConfinedRoot, stream: Readable, path: string) {
  await using file = await open(path, "wx", 0o600);
  return await root.spool(ctx, { stream, fd: file.fd });
}

/** Follows symbolic links, as the wall's own reading does. */
function spooledReader(spooled: SpooledContext): Reader {
  return {
    readFile: async (ctx, path, maxBytes) =>
      await spooled.readFile(ctx, (await resolvePath(ctx, spooled, path)).path, maxBytes),
  };
}

type Reader = Pick<ConfinedRoot, "readFile">;

/** Files that are ignored are not copied in the first place. */
async function fromDirectory(
  ctx: OpContext,
  parts: IntakeParts,
  source: string,
  target: string,
  dockerfile: string,
): Promise<BuildContext> {
  await using from = await parts.roots.open(ctx, source);
  const { text, path } = await readDockerfile(ctx, from, dockerfile);
  const exclude = [...(await ignoredPaths(ctx, from, listBelow(source), path)), ...(await ownPaths(source, target))];
  await using root = await parts.roots.open(ctx, target);
  const tar = await from.pack(ctx, { path: "/", rename: "", semantics: "plain", exclude });
  try {
    await unpack(ctx, root, tar);
  } finally {
    tar.destroy();
  }
  return { dockerfile: parseDockerfile(text, path), files: { kind: "directory", directory: target } };
}

/** A context that holds the engine's data must not be copied into itself without end. */
async function ownPaths(source: string, target: string): Promise<readonly string[]> {
  const buildRoot = dirname(dirname(await realpath(target)));
  const inside = relative(await realpath(source), buildRoot);
  return inside === ".." || inside.startsWith("../") ? [] : [inside];
}

async function fromRemote(
  ctx: OpContext,
  parts: IntakeParts,
  remote: string,
  target: string,
  dockerfile: string,
): Promise<BuildContext> {
  if (isGitUrl(remote)) {
    const directory = await cloneRepository(ctx, parts.host, remote, target);
    await using root = await parts.roots.open(ctx, directory);
    return await readContext(ctx, root, directory, dockerfile);
  }
  if (!isUrl(remote)) {
    throw buildErrors.BUILD_CONTEXT_INVALID({ reason: `${remote} could not be recognized as URL` });
  }
  const { response, body } = await openUrl(ctx, remote);
  try {
    if (!/^text\/plain\b/i.test(response.headers.get("content-type") ?? "")) {
      return await fromTar(ctx, parts, body, target, dockerfile);
    }
    const text = await readText(body);
    const name = posix.basename(new URL(remote).pathname) || "Dockerfile";
    return { dockerfile: parseDockerfile(text, name), files: undefined };
  } finally {
    body.destroy();
  }
}

/** The stream is its owner's to end: the rest of a request's body must be read, or its client never sees the answer. */
async function unpack(ctx: OpContext, root: ConfinedRoot, stream: Readable): Promise<void> {
  await root.extract(ctx, { source: { stream }, compression: "auto", into: "/", semantics: "plain" });
}

async function readContext(
  ctx: OpContext,
  root: ConfinedRoot,
  directory: string,
  dockerfile: string,
): Promise<BuildContext> {
  const { text, path } = await readDockerfile(ctx, root, dockerfile);
  const parsed = parseDockerfile(text, path);
  for (const ignored of await ignoredPaths(ctx, root, listBelow(directory), path)) await root.remove(ctx, ignored);
  return { dockerfile: parsed, files: { kind: "directory", directory } };
}

/** "Dockerfile" is also found as "dockerfile". */
async function readDockerfile(
  ctx: OpContext,
  root: Reader,
  name: string,
): Promise<{ readonly text: string; readonly path: string }> {
  const path = posix.normalize(name).replace(/^\/+/, "");
  if (path === ".." || path.startsWith("../")) throw buildErrors.DOCKERFILE_NOT_FOUND({ path: name });
  for (const candidate of path === "Dockerfile" ? [path, "dockerfile"] : [path]) {
    const text = await readOptional(ctx, root, candidate);
    if (text !== undefined) return { text, path: candidate };
  }
  throw buildErrors.DOCKERFILE_NOT_FOUND({ path: name });
}

/** By `<Dockerfile>.dockerignore`, else by `.dockerignore`. */
async function ignoredPaths(
  ctx: OpContext,
  root: Reader,
  list: ListDirectory,
  dockerfile: string,
): Promise<readonly string[]> {
  const text =
    (await readOptional(ctx, root, `${dockerfile}.dockerignore`)) ?? (await readOptional(ctx, root, ".dockerignore"));
  return text === undefined ? [] : await excludedPaths(list, "", new IgnorePatterns(readIgnoreFile(text)));
}

async function readOptional(ctx: OpContext, root: Reader, path: string): Promise<string | undefined> {
  try {
    return Buffer.from(await root.readFile(ctx, path, maxTextBytes)).toString("utf8");
  } catch (error) {
    if (isBerthError(error, "PATH_NOT_FOUND", "PATH_NOT_DIRECTORY")) return undefined;
    throw error;
  }
}

async function readText(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length > maxTextBytes)
      throw buildErrors.BUILD_CONTEXT_INVALID({ reason: "the Dockerfile is larger than 4 MiB" });
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** A Dockerfile or .dockerignore beyond this is none. */
const maxTextBytes = 4 << 20;
