/** Filling an empty volume with what the image has at the place where it will be mounted. */
import { readdir, stat } from "node:fs/promises";
import type { ConfinedRoots } from "../archive/confined-root.ts";
import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import { chmod, chown, mkdir, rename, rm } from "../host/files.ts";

export interface CopyUpRequest {
  /** A directory of the image, free of symbolic links on its way. */
  readonly source: string;
  readonly target: string;
  /**
   * An empty directory's name beside the target, to fill first and put in its place when all is there: an engine that is killed
   * on the way leaves the volume empty, not half full. "" where the target is a mount point or in use: filled in place.
   */
  readonly draft: string;
}

/** Copies with owners, modes, xattrs and hard links. A target that has anything in it is left as it is. */
export async function copyUp(ctx: OpContext, roots: ConfinedRoots, request: CopyUpRequest): Promise<void> {
  const { source, target, draft } = request;
  if ((await readdir(target)).length > 0) return;
  const empty = (await readdir(source)).length === 0;
  if (empty || draft === "") {
    if (!empty) await copyTree(ctx, roots, source, target);
    await copyOwner(source, target);
    return;
  }
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o755 });
  await using reverter = new Reverter(ctx);
  reverter.add("draft", () => rm(draft, { recursive: true, force: true }));
  await copyTree(ctx, roots, source, draft);
  await copyOwner(source, draft);
  // Replaces a directory only while it is empty: ENOTEMPTY if somebody was faster.
  await rename(draft, target);
  reverter.commit();
}

async function copyTree(ctx: OpContext, roots: ConfinedRoots, source: string, target: string): Promise<void> {
  await using from = await roots.open(ctx, source);
  await using into = await roots.open(ctx, target);
  const stream = await from.pack(ctx, { path: "/", rename: "", semantics: "plain" });
  await into.extract(ctx, { source: { stream }, compression: "none", into: "/", semantics: "plain" });
}

async function copyOwner(source: string, target: string): Promise<void> {
  const { uid, gid, mode } = await stat(source);
  await chown(target, uid, gid);
  await chmod(target, mode & 0o7777);
}
