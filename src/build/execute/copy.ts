/** COPY and ADD. */
import { posix } from "node:path";
import type { ConfinedRoot } from "../../archive/confined-root.ts";
import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { CopyInstruction } from "../../dockerfile/instruction.ts";
import { buildErrors } from "../errors.ts";
import { changeRoot } from "../step-layer.ts";
import { chainOf, nopComment } from "../step-state.ts";
import { resolvePath } from "../tree-paths.ts";
import { isArchive } from "./archive-file.ts";
import { combinedDigest, type CopySource, findSources, keepsOwners } from "./copy-source.ts";
import { type Owner, resolveOwner } from "./owner.ts";
import type { StepInput, StepPlan } from "./step-plan.ts";

export async function planCopy(ctx: OpContext, input: StepInput<CopyInstruction>): Promise<StepPlan> {
  const { build, instruction, state } = input;
  const kind = instruction.kind.toUpperCase();
  const mode = parseMode(instruction.chmod);
  const sources = await findSources(ctx, input);
  const { destination } = instruction;
  if (sources.length > 1 && !destination.endsWith("/")) {
    throw buildErrors.BUILD_COPY_FAILED({
      kind,
      reason: `When using ${kind} with more than one source file, the destination must be a directory and end with a /`,
    });
  }
  const flags = [
    ...(instruction.chown === "" ? [] : [`--chown=${instruction.chown} `]),
    ...(instruction.chmod === "" ? [] : [`--chmod=${instruction.chmod} `]),
  ];
  const comment = `${kind} ${flags.join("")}${combinedDigest(sources)} in ${destination} `;
  const absolute = absoluteDestination(state.config.WorkingDir ?? "", destination);
  return {
    next: state,
    createdBy: nopComment(state, comment, 1),
    extraKey: {
      names: sources.map(({ name, parent, unpack }) => [name, parent, unpack]),
      keepsOwners: keepsOwners(instruction),
    },
    makeLayer: (ctx) =>
      changeRoot(ctx, build.parts, { id: build.nextSnapshotId(), parent: chainOf(state) }, async (root) => {
        const owner = instruction.chown === "" ? undefined : await resolveOwner(ctx, root, instruction.chown);
        for (const source of sources) {
          await copySource(ctx, {
            root,
            source,
            destination: absolute,
            kind,
            mode,
            owner,
            keepOwners: keepsOwners(instruction),
          });
        }
      }),
  };
}

interface Copy {
  readonly root: ConfinedRoot;
  readonly source: CopySource;
  /** Absolute; with a slash at its end when that was asked for. */
  readonly destination: string;
  readonly kind: string;
  readonly mode: number | undefined;
  readonly owner: Owner | undefined;
  readonly keepOwners: boolean;
}

const rootOwner: Owner = { uid: 0, gid: 0 };

async function copySource(ctx: OpContext, copy: Copy): Promise<void> {
  const { root, source } = copy;
  const destination = source.parent === "" ? copy.destination : `${posix.join(copy.destination, source.parent)}/`;
  const target = await resolvePath(ctx, root, destination);
  const isDirectory = target.stat?.kind === "directory";
  if (source.stat.kind === "directory") {
    if (target.stat !== undefined && !isDirectory) {
      throw buildErrors.BUILD_COPY_FAILED({
        kind: copy.kind,
        reason: `cannot copy a directory to ${target.path}: it is not a directory`,
      });
    }
    await transfer(ctx, copy, target.path, "");
    return;
  }
  if (source.unpack && (await unpackArchive(ctx, copy, target.path))) return;
  if (!isDirectory && !destination.endsWith("/")) {
    await transfer(ctx, copy, posix.dirname(target.path), posix.basename(target.path));
    return;
  }
  // A link of that name in the directory leads on, as it does for a name given in full.
  const inside = await resolvePath(ctx, root, posix.join(target.path, source.name));
  if (inside.stat?.kind === "directory") {
    throw buildErrors.BUILD_COPY_FAILED({
      kind: copy.kind,
      reason: `cannot overwrite the directory ${inside.path} with a file`,
    });
  }
  await transfer(ctx, copy, posix.dirname(inside.path), posix.basename(inside.path));
}

/** Copies the source into the directory `into`: as `name`, or its contents when that is "". */
async function transfer(ctx: OpContext, copy: Copy, into: string, name: string): Promise<void> {
  const { root, source, mode } = copy;
  await root.makeDirectories(ctx, into, { mode: 0o755, ...(copy.owner ?? rootOwner) });
  const stream = await source.tree.root.pack(ctx, {
    path: source.path,
    rename: name,
    semantics: "plain",
    exclude: source.exclude,
  });
  const owner = copy.owner ?? (copy.keepOwners ? undefined : rootOwner);
  try {
    await root.extract(ctx, {
      source: { stream },
      compression: "none",
      into,
      semantics: "plain",
      ...(owner === undefined ? {} : { chown: owner }),
      ...(mode === undefined ? {} : { chmod: mode }),
    });
  } finally {
    stream.destroy();
  }
}

/** False when it is no archive after all. Owners are the archive's, unless `--chown` says otherwise. */
async function unpackArchive(ctx: OpContext, copy: Copy, into: string): Promise<boolean> {
  const { root, source, owner, mode } = copy;
  if (source.stat.kind !== "file") return false;
  const path = posix.join(await source.tree.directory(ctx), source.path);
  const archive = await isArchive(path);
  if (archive === "no") return false;
  try {
    await root.makeDirectories(ctx, into, { mode: 0o755, ...(owner ?? rootOwner) });
    await root.extract(ctx, {
      source: { path },
      compression: "auto",
      into,
      semantics: "plain",
      ...(owner === undefined ? {} : { chown: owner }),
      ...(mode === undefined ? {} : { chmod: mode }),
    });
    return true;
  } catch (error) {
    // A single compressed file is copied as it is.
    if (archive === "maybe" && isBerthError(error, "ARCHIVE_CORRUPT")) return false;
    throw error;
  }
}

/** `--chmod`: octal digits. Undefined for none. */
function parseMode(chmod: string): number | undefined {
  if (chmod === "") return undefined;
  if (!/^[0-7]{1,5}$/.test(chmod) || Number.parseInt(chmod, 8) > 0o7777) {
    throw buildErrors.BUILD_OPTION_UNSUPPORTED({ option: "--chmod", reason: `${chmod} is no octal number up to 7777` });
  }
  return Number.parseInt(chmod, 8);
}

/** Relative to the working directory; a slash at the end stays. */
function absoluteDestination(workingDirectory: string, destination: string): string {
  const absolute = posix.resolve("/", workingDirectory, destination);
  const isDirectory = destination.endsWith("/") || destination === "." || destination.endsWith("/.");
  return isDirectory && absolute !== "/" ? `${absolute}/` : absolute;
}
