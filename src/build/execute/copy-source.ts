/** The sources of COPY and ADD: found, and digested, before anything is copied. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, join, posix, relative } from "node:path";
import type { FileStat } from "../../archive/confined-root.ts";
import type { OpContext } from "../../base/op-context.ts";
import { IgnorePatterns } from "../../dockerfile/dockerignore.ts";
import type { CopyInstruction } from "../../dockerfile/instruction.ts";
import { download, isUrl } from "../context/download.ts";
import { cloneRepository, isGitUrl } from "../context/git.ts";
import { buildErrors } from "../errors.ts";
import type { SourceTree } from "../source-trees.ts";
import { excludedPaths, hasWildcards, matchWildcards, resolvePath } from "../tree-paths.ts";
import { sourceTree } from "./source-tree.ts";
import type { StepInput } from "./step-plan.ts";

export interface CopySource {
  readonly tree: SourceTree;
  /** In the tree, free of symbolic links. */
  readonly path: string;
  /** Base name as it was asked for: a link keeps its own name. */
  readonly name: string;
  readonly stat: FileStat;
  /** Below `path`. */
  readonly exclude: readonly string[];
  /** Directories to make under the destination (`--parents`); "" for none. */
  readonly parent: string;
  /** ADD unpacks it when it is an archive. */
  readonly unpack: boolean;
  /** "file:<sha256>" or "dir:<sha256>". */
  readonly digest: string;
}

/** All sources, in order. At least one: else `BUILD_COPY_FAILED`. */
export async function findSources(ctx: OpContext, input: StepInput<CopyInstruction>): Promise<readonly CopySource[]> {
  const { build, instruction } = input;
  const sources: CopySource[] = [];
  for (const file of instruction.inlineFiles) {
    const tree = await build.trees.makeFile(ctx, file.name, file.content, 0o644);
    sources.push(...(await findIn(ctx, instruction, tree, basename(file.name))));
  }
  for (const source of instruction.sources) {
    if (instruction.kind === "add" && isRepository(source)) sources.push(await repositorySource(ctx, input, source));
    else if (isUrl(source)) sources.push(await downloadSource(ctx, input, source));
    else
      sources.push(
        ...(await findIn(
          ctx,
          instruction,
          await sourceTree(ctx, input, instruction.from, instruction.kind.toUpperCase()),
          source,
        )),
      );
  }
  if (sources.length === 0) throw failed(instruction, "no source files were specified");
  return sources;
}

/** One digest for all, as history shows it. */
export function combinedDigest(sources: readonly CopySource[]): string {
  const [only, ...more] = sources;
  if (only !== undefined && more.length === 0) return only.digest;
  return `multi:${createHash("sha256")
    .update(sources.map(({ digest }) => digest).join(","))
    .digest("hex")}`;
}

async function findIn(
  ctx: OpContext,
  instruction: CopyInstruction,
  tree: SourceTree,
  source: string,
): Promise<readonly CopySource[]> {
  const pivot = instruction.parents ? source.indexOf("/./") : -1;
  const cleaned = posix.normalize(source).replace(/^\/+/, "");
  if (cleaned === ".." || cleaned.startsWith("../")) {
    throw failed(instruction, `forbidden path outside the build context: ${source} ()`);
  }
  const paths = hasWildcards(cleaned) ? await matchWildcards(tree.list, cleaned) : [cleaned];
  const depth = pivot < 0 ? 0 : posix.normalize(source.slice(0, pivot)).split("/").filter(Boolean).length;
  const found: CopySource[] = [];
  // One after the other: each is read for its digest, and there may be thousands.
  for (const path of paths) found.push(await describeSource(ctx, instruction, tree, path, depth));
  return found;
}

async function describeSource(
  ctx: OpContext,
  instruction: CopyInstruction,
  tree: SourceTree,
  asked: string,
  parentsFrom: number,
): Promise<CopySource> {
  const { path, stat } = await resolvePath(ctx, tree.root, asked);
  if (stat === undefined) {
    const hint = tree.kind === "context" ? "file not found in build context or excluded by .dockerignore: " : "";
    throw failed(instruction, `${hint}stat ${posix.normalize(asked).replace(/\/$/, "")}: file does not exist`);
  }
  const isDirectory = stat.kind === "directory";
  const exclude = isDirectory ? await excludedPaths(tree.list, path, new IgnorePatterns(instruction.excludes)) : [];
  const parentWords = posix
    .normalize(asked)
    .split("/")
    .filter((word) => word !== "" && word !== ".");
  // A directory's own name is kept as well, since its contents are what is copied.
  const parent = instruction.parents ? parentWords.slice(parentsFrom, isDirectory ? undefined : -1).join("/") : "";
  const digest = await tree.root.digest(ctx, { path, exclude, owners: keepsOwners(instruction) });
  return {
    tree,
    path,
    name: posix.basename(asked.replace(/\/+$/, "")) || posix.basename(path),
    stat,
    exclude,
    parent,
    unpack: instruction.kind === "add" && tree.kind === "context" && (instruction.unpack ?? true),
    digest: `${isDirectory ? "dir" : "file"}:${digest}`,
  };
}

/** Files from other images keep their owners; everything else becomes root's, unless `--chown` says otherwise. */
export function keepsOwners(instruction: CopyInstruction): boolean {
  return instruction.from !== "" && instruction.chown === "";
}

async function downloadSource(ctx: OpContext, input: StepInput<CopyInstruction>, url: string): Promise<CopySource> {
  const { build, instruction, output } = input;
  if (instruction.kind === "copy") throw failed(instruction, "source can't be a URL for COPY");
  let name = "";
  const tree = await build.trees.make(ctx, async (directory) => {
    const file = await download(ctx, url, directory, { checksum: instruction.checksum, progress: output.sink });
    name = file.name;
    if (name === "" && instruction.destination.endsWith("/")) {
      throw failed(instruction, `cannot determine filename for source ${url}`);
    }
  });
  const { path, stat } = await resolvePath(ctx, tree.root, name === "" ? unnamed : name);
  if (stat === undefined) throw failed(instruction, `${url} was not stored`);
  const digest = await tree.root.digest(ctx, { path, owners: false });
  return {
    tree,
    path,
    name,
    stat,
    exclude: [],
    parent: "",
    unpack: instruction.unpack ?? false,
    digest: `file:${digest}`,
  };
}

/** One commit of a repository, or a directory of it: what is in it goes to the destination. */
async function repositorySource(ctx: OpContext, input: StepInput<CopyInstruction>, url: string): Promise<CopySource> {
  const { build, instruction } = input;
  if (instruction.checksum !== "") throw failed(instruction, "--checksum is not supported for a git repository");
  const { keepGitDir } = instruction;
  let inside = "";
  let commit = "";
  const tree = await build.trees.make(ctx, async (directory) => {
    inside = relative(directory, await cloneRepository(ctx, build.parts.host, url, directory, { keepGitDir }));
    if (keepGitDir) commit = await readFile(join(directory, ".git", "HEAD"), "utf8");
  });
  const source = await describeSource(ctx, instruction, tree, inside === "" ? "." : inside, 0);
  if (!keepGitDir) return source;
  // Git's own files differ each time; the commit is what they are of.
  const digest = createHash("sha256").update(JSON.stringify([commit, inside, source.exclude]));
  return { ...source, digest: `dir:${digest.digest("hex")}` };
}

/** What a download without a name is stored as. */
const unnamed = "__unnamed__";

/** Unlike a context's, "github.com/…" is a path of the build's own context. */
function isRepository(source: string): boolean {
  return isGitUrl(source) && !source.startsWith("github.com/");
}

function failed(instruction: CopyInstruction, reason: string): Error {
  return buildErrors.BUILD_COPY_FAILED({ kind: instruction.kind.toUpperCase(), reason });
}
