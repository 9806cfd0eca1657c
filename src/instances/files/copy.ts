import { createWriteStream } from "node:fs";
import { join, posix } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ExtractRequest } from "../../archive/confined-root.ts";
import { isBerthError } from "../../base/errors.ts";
import { newId } from "../../base/ids.ts";
import { background, type OpContext } from "../../base/op-context.ts";
import { rm } from "../../host/files.ts";
import type { InstanceRecord } from "../../schema/instance.ts";
import { instanceErrors } from "../errors.ts";
import type { PathStat } from "../instance-service.ts";
import { resolveUser } from "../oci/spec/users.ts";
import { dataDir, isThrowAway, type Parts } from "../parts.ts";
import { resolveInstance } from "../resolve.ts";
import { FileView, type Place } from "./file-view.ts";
import { goFileMode } from "./go-file-mode.ts";
import {
  type Inside,
  type OpenInside,
  openInside,
  packInside,
  packRootInside,
  statInside,
  unpackInside,
} from "./inside.ts";
import { joinTars, onceClosed } from "./join-tars.ts";

/** See {@link InstanceService.statPath}. */
export async function statInstancePath(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  path: string,
): Promise<PathStat> {
  const record = resolveInstance(parts.records, nameOrId);
  await using inside = await openInside(parts, ctx, record, "look into");
  if (inside !== undefined) return await requireInside(ctx, inside, nameOrId, path);
  await using view = await FileView.open(ctx, parts, record);
  const place = await require(view, ctx, nameOrId, path, wantsDirectory(path));
  return await pathStat(view, ctx, place, path);
}

/** See {@link InstanceService.copyFrom}. What is mounted below a directory is packed with it. */
export async function copyFromInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  path: string,
): Promise<{ readonly stat: PathStat; readonly tar: Readable }> {
  const record = resolveInstance(parts.records, nameOrId);
  const inside = await openInside(parts, ctx, record, "copy from");
  if (inside !== undefined) {
    return await whileStreaming(ctx, inside, async () => {
      const stat = await requireInside(ctx, inside, nameOrId, path);
      const tar = await packInside(ctx, inside, path, baseName(path));
      parts.publish(record, "archive-path");
      return { stat, tar };
    });
  }
  const view = await FileView.open(ctx, parts, record);
  try {
    const place = await require(view, ctx, nameOrId, path, wantsDirectory(path));
    const stat = await pathStat(view, ctx, place, path);
    const name = baseName(path);
    const below = place.stat.kind === "directory" ? await view.mountedBelow(ctx, place.path) : [];
    const relative = (inside: Place) => posix.relative(place.path, inside.path);
    const own = await place.root.pack(ctx, {
      path: place.inRoot,
      rename: name,
      semantics: "plain",
      exclude: below.map(relative),
    });
    const mounted = below.map(
      (inside) => () =>
        inside.root.pack(ctx, {
          path: inside.inRoot,
          rename: posix.join(name, relative(inside)),
          semantics: "plain",
          exclude: below
            .filter((deeper) => deeper.path.startsWith(`${inside.path}/`))
            .map((deeper) => posix.relative(inside.path, deeper.path)),
        }),
    );
    const tar = mounted.length === 0 ? own : joinTars([() => Promise.resolve(own), ...mounted]);
    onceClosed(tar, () => view[Symbol.asyncDispose](), ctx.log);
    parts.publish(record, "archive-path");
    return { stat, tar };
  } catch (error) {
    await view[Symbol.asyncDispose]();
    throw error;
  }
}

/** See {@link InstanceService.copyTo}. */
export async function copyToInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  directory: string,
  tar: Readable,
  options: { readonly noOverwriteDirNonDir: boolean; readonly copyUidGid: boolean },
): Promise<void> {
  const record = resolveInstance(parts.records, nameOrId);
  await using inside = await openInside(parts, ctx, record, "copy to");
  if (inside !== undefined) {
    const target = await requireInside(ctx, inside, nameOrId, `${directory.replace(/\/+$/, "")}/`);
    if (target.mode < 2 ** 31) throw instanceErrors.COPY_TARGET_NOT_DIRECTORY({});
    refuseReadOnly(record, directory);
    const { user } = record.spec.process;
    const owner = options.copyUidGid && user !== "" ? user : undefined;
    const request = { directory, tar, owner, replace: !options.noOverwriteDirNonDir };
    await unpackInside(ctx, inside, request, parts.host.processes);
    parts.publish(record, "extract-to-dir");
    return;
  }
  await using view = await FileView.open(ctx, parts, record);
  const place = await require(view, ctx, nameOrId, directory, true);
  if (place.stat.kind !== "directory") throw instanceErrors.COPY_TARGET_NOT_DIRECTORY({});
  if (place.readOnly !== undefined) throw instanceErrors.COPY_READ_ONLY({ what: place.readOnly });
  const chown = options.copyUidGid ? await ownerOf(view, ctx, record) : undefined;
  const common = {
    compression: "auto",
    semantics: "plain",
    noOverwriteDirNonDir: options.noOverwriteDirNonDir,
    ...(chown === undefined ? {} : { chown }),
  } as const;
  const mounted = await view.mountedBelow(ctx, place.path);
  if (mounted.length === 0) {
    await place.root.extract(ctx, { ...common, source: { stream: tar }, into: place.inRoot });
  } else {
    await extractAcrossMounts(ctx, { tar, spool: join(dataDir(parts, record.id), `copy-${newId()}.tar`) }, (path) =>
      [place, ...mounted].map((top) => () => extractInto(ctx, top, place, mounted, { ...common, source: { path } })),
    );
  }
  parts.publish(record, "extract-to-dir");
}

/** The archive is read once for the directory and once for each thing that is mounted below it: so it is kept meanwhile. */
async function extractAcrossMounts(
  ctx: OpContext,
  { tar, spool }: { readonly tar: Readable; readonly spool: string },
  passes: (path: string) => readonly (() => Promise<unknown>)[],
): Promise<void> {
  try {
    await pipeline(tar, createWriteStream(spool, { mode: 0o600, flags: "wx" }), { signal: ctx.signal });
    for (const pass of passes(spool)) await pass();
  } finally {
    await rm(spool, { force: true });
  }
}

/** Those members of an archive for the directory `asked` that fall into `top`, which is that directory or mounted below it. */
async function extractInto(
  ctx: OpContext,
  top: Place,
  asked: Place,
  mounted: readonly Place[],
  request: Omit<ExtractRequest, "into" | "only" | "covered">,
): Promise<void> {
  if (!takesMembers(top)) return;
  const covered = mounted
    .filter((one) => one !== top && isBelow(one.path, top.path))
    .map((one) => ({
      path: posix.join(top.inRoot, posix.relative(top.path, one.path)),
      takesMembers: takesMembers(one),
    }));
  const only = posix.relative(asked.path, top.path);
  await top.root.extract(ctx, { ...request, into: top.inRoot, covered, ...(only === "" ? {} : { only }) });
}

function takesMembers({ stat, readOnly }: Place): boolean {
  return stat.kind === "directory" && readOnly === undefined;
}

function isBelow(path: string, directory: string): boolean {
  return path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

/** See {@link InstanceService.export}: the root alone, without what is mounted over it. */
export async function exportInstance(parts: Parts, ctx: OpContext, nameOrId: string): Promise<Readable> {
  const { id, spec } = resolveInstance(parts.records, nameOrId);
  const record = parts.records.require(id);
  const inside = await openInside(parts, ctx, record, "export");
  if (inside !== undefined) {
    const { tar } = await whileStreaming(ctx, inside, async () => ({ tar: await packRootInside(ctx, inside) }));
    parts.publish(record, "export");
    return tar;
  }
  const rootfs = await parts.rootMounts.hold(ctx, id, { volatile: isThrowAway(spec) });
  const held = new AsyncDisposableStack();
  held.defer(() => parts.rootMounts.release(background(ctx.log), id));
  try {
    const root = held.use(await parts.roots.open(ctx, rootfs));
    const tar = await root.pack(ctx, { path: "/", rename: "", semantics: "plain" });
    onceClosed(tar, () => held.disposeAsync(), ctx.log);
    parts.publish(record, "export");
    return tar;
  } catch (error) {
    await held.disposeAsync();
    throw error;
  }
}

/** `COPY_READ_ONLY` for what its processes could not write to either: a volume that is, or the root where that is. */
function refuseReadOnly({ spec }: InstanceRecord, directory: string): void {
  const path = posix.normalize(`/${directory}`);
  const over = spec.mounts
    .filter(({ target }) => path === target || isBelow(path, target))
    .toSorted((a, b) => b.target.length - a.target.length)[0];
  if (over === undefined && spec.security.readonlyRootfs) throw instanceErrors.COPY_READ_ONLY({ what: "rootfs" });
  if (over !== undefined && over.type !== "tmpfs" && over.readOnly)
    throw instanceErrors.COPY_READ_ONLY({ what: "volume" });
}

/** Holds what the stream comes from until it is closed. */
async function whileStreaming<T extends { readonly tar: Readable }>(
  ctx: OpContext,
  inside: OpenInside,
  open: () => Promise<T>,
): Promise<T> {
  try {
    const opened = await open();
    onceClosed(opened.tar, async () => await inside[Symbol.asyncDispose](), ctx.log);
    return opened;
  } catch (error) {
    await inside[Symbol.asyncDispose]();
    throw error;
  }
}

async function requireInside(ctx: OpContext, inside: Inside, nameOrId: string, path: string): Promise<PathStat> {
  const found = await statInside(ctx, inside, path);
  if (found === undefined) throw instanceErrors.PATH_NOT_IN_INSTANCE({ path, name: nameOrId });
  return found;
}

async function require(
  view: FileView,
  ctx: OpContext,
  nameOrId: string,
  path: string,
  follow: boolean,
): Promise<Place> {
  const notFound = () => instanceErrors.PATH_NOT_IN_INSTANCE({ path, name: nameOrId });
  try {
    const place = await view.find(ctx, path, { follow });
    if (place === undefined) throw notFound();
    if (wantsDirectory(path) && place.stat.kind !== "directory") throw notFound();
    return place;
  } catch (error) {
    if (isBerthError(error, "PATH_NOT_FOUND", "PATH_NOT_DIRECTORY")) throw notFound();
    throw error;
  }
}

/** "dir/" and "dir/." mean what a link leads to. */
function wantsDirectory(path: string): boolean {
  return path.endsWith("/") || path.endsWith("/.");
}

/** As Go's filepath.Base has it, and the docker client expects it: "/" for the root, "." for "dir/.". */
function baseName(path: string): string {
  if (path.endsWith("/.") && path !== "/.") return ".";
  const base = posix.basename(posix.normalize(`/${path}`));
  return base === "" ? "/" : base;
}

async function pathStat(view: FileView, ctx: OpContext, place: Place, path: string): Promise<PathStat> {
  const { stat } = place;
  return {
    name: baseName(path),
    size: stat.size,
    mode: goFileMode(stat),
    mtime: new Date(stat.mtimeMs).toISOString(),
    linkTarget: stat.kind === "symlink" ? await view.linkTarget(ctx, place) : "",
  };
}

/** `docker cp -a` into an instance with a user of its own: that user becomes the owner. */
async function ownerOf(
  view: FileView,
  ctx: OpContext,
  { spec }: InstanceRecord,
): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  if (spec.process.user === "") return undefined;
  const read = async (path: string) => {
    const place = await view.find(ctx, path, { follow: true });
    if (place?.stat.kind !== "file") return "";
    return Buffer.from(await place.root.readFile(ctx, place.inRoot, 1024 * 1024)).toString("utf8");
  };
  const { uid, gid } = resolveUser({
    user: spec.process.user,
    groupAdd: [],
    passwd: await read("/etc/passwd"),
    group: await read("/etc/group"),
  });
  return { uid, gid };
}
