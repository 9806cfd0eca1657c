/** `berth cp`: the engine sends and takes tars; the local side is packed and unpacked here. */
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import * as tar from "tar-stream";
import { messageOf } from "../../../base/errors.ts";
import { type CliContext, defineCommand, flag } from "../../command.ts";
import { cliErrors } from "../../errors.ts";

export const copy = defineCommand({
  arguments: "CONTAINER:PATH|PATH|- CONTAINER:PATH|PATH|-",
  options: {
    archive: flag("Keep user and group ids", "a"),
    followLink: flag("Follow symbolic links of the source", "L"),
    quiet: flag("Print nothing", "q"),
  },
  async run(ctx, [from = "", to = ""], values) {
    const source = parseEnd(from);
    const target = parseEnd(to);
    if (source.container !== undefined && target.container === undefined)
      await copyOut(ctx, source.container, source.path, target.path, values);
    else if (source.container === undefined && target.container !== undefined)
      await copyIn(ctx, source.path, target.container, target.path, values);
    else
      throw cliErrors.USAGE({
        reason: "one of the two must be CONTAINER:PATH and the other a local path",
        command: "cp",
      });
  },
});

interface End {
  readonly container: string | undefined;
  readonly path: string;
}

/** A local path with a colon is written ./a:b or absolute, as in docker. */
function parseEnd(word: string): End {
  const at = word.indexOf(":");
  return at < 1 || word.startsWith("/") || word.startsWith(".")
    ? { container: undefined, path: word }
    : { container: word.slice(0, at), path: word.slice(at + 1) };
}

async function copyOut(
  ctx: CliContext,
  container: string,
  path: string,
  target: string,
  values: { readonly archive: boolean; readonly followLink: boolean },
): Promise<void> {
  const linkTarget = values.followLink ? (await pathStat(ctx, container, path))?.linkTarget : undefined;
  const { body } = await ctx.client.stream("GET", `/containers/${container}/archive`, {
    query: { path: linkTarget || path },
  });
  if (target === "-") {
    await pipeline(body, ctx.stdout, { end: false });
    return;
  }
  const isDirectory = existsSync(target) && statSync(target).isDirectory();
  if (!isDirectory && !existsSync(dirname(resolve(target))))
    throw cliErrors.FILE_UNREADABLE({ path: dirname(target), reason: "no such directory" });
  // "dir/." copies what is in it; into an existing directory the top entry keeps its name, else it takes the target's.
  const contentsOnly = path.endsWith("/.");
  // A link that was followed keeps its own name.
  const top = linkTarget ? basename(path) : undefined;
  const rename = (name: string): string => {
    const [first = "", ...rest] = name.replace(/\/$/, "").split("/");
    return isDirectory && !contentsOnly ? join(target, top ?? first, ...rest) : join(target, ...rest);
  };
  await unpack(body, rename, resolve(target), { keepOwner: values.archive });
}

/** Extracts into the local file system, where no entry leaves `root` or goes through a link of the archive. */
async function unpack(
  body: Readable,
  rename: (name: string) => string,
  root: string,
  options: { readonly keepOwner: boolean },
): Promise<void> {
  const links: string[] = [];
  const confined = (name: string): string => {
    const path = resolve(rename(name));
    if (path !== root && !path.startsWith(root + sep))
      throw cliErrors.FILE_UNREADABLE({ path: name, reason: "it would leave the target directory" });
    if (links.some((link) => path.startsWith(link + sep)))
      throw cliErrors.FILE_UNREADABLE({ path: name, reason: "it goes through a symbolic link of the archive" });
    return path;
  };
  const extract = tar.extract();
  const done = pipeline(body, extract);
  // Reported below; an entry's own error comes first.
  done.catch(() => {});
  for await (const entry of extract) {
    const { header } = entry;
    const path = confined(header.name);
    await writeEntry(entry as unknown as Readable, header, path, confined);
    if (header.type === "symlink") links.push(path);
    if (options.keepOwner) lchownSync(path, header.uid ?? 0, header.gid ?? 0);
    if (header.type === "symlink") continue;
    // After the owner, whose change takes set-id bits away; a directory's time is changed by what comes into it, as with docker.
    if (header.mode !== undefined) chmodSync(path, header.mode);
    if (header.mtime !== undefined) utimesSync(path, header.mtime, header.mtime);
  }
  await done;
}

async function writeEntry(
  entry: Readable,
  header: tar.Header,
  path: string,
  confined: (name: string) => string,
): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (header.type === "directory") {
    if (there !== undefined && !statSync(path).isDirectory())
      throw cliErrors.FILE_UNREADABLE({ path, reason: "a directory can't be copied over a file" });
    mkdirSync(path, { recursive: true });
    entry.resume();
    return;
  }
  if (there?.isDirectory() === true)
    throw cliErrors.FILE_UNREADABLE({ path, reason: "a file can't be copied over a directory" });
  // Replaced, not written through: it may be a link to somewhere else.
  rmSync(path, { force: true });
  switch (header.type) {
    case "symlink":
      symlinkSync(header.linkname ?? "", path);
      break;
    case "link":
      linkSync(confined(header.linkname ?? ""), path);
      break;
    case "file":
    case "contiguous-file":
      await pipeline(entry, createWriteStream(path));
      return;
    default:
      throw cliErrors.FILE_UNREADABLE({ path: header.name, reason: `a ${header.type} can't be copied here` });
  }
  entry.resume();
}

async function copyIn(
  ctx: CliContext,
  path: string,
  container: string,
  target: string,
  values: { readonly archive: boolean; readonly followLink: boolean },
): Promise<void> {
  const put = (directory: string, body: Readable) =>
    ctx.client.call("PUT", `/containers/${container}/archive`, {
      query: { path: directory, noOverwriteDirNonDir: true, copyUIDGID: values.archive || undefined },
      body,
    });
  if (path === "-") {
    await put(target, ctx.stdin);
    return;
  }
  if (!existsSync(path)) throw cliErrors.FILE_UNREADABLE({ path, reason: "no such file or directory" });
  const stat = await targetStat(ctx, container, target);
  const isDirectory = stat === "directory" || target.endsWith("/");
  if (target.endsWith("/") && stat === "missing")
    throw cliErrors.FILE_UNREADABLE({ path: `${container}:${target}`, reason: "no such directory in the container" });
  const contentsOnly = path.endsWith("/.");
  const name = isDirectory ? (contentsOnly ? "." : basename(resolve(path))) : basename(target);
  await put(isDirectory ? target : dirname(target), packPath(path, name, values.followLink));
}

async function targetStat(ctx: CliContext, container: string, path: string): Promise<"directory" | "file" | "missing"> {
  const stat = await pathStat(ctx, container, path);
  // Go's os.ModeDir is the highest bit.
  return stat === undefined ? "missing" : stat.mode >= 2 ** 31 ? "directory" : "file";
}

/** What a path in the container is, as the engine's header says; undefined when it is not there. */
async function pathStat(
  ctx: CliContext,
  container: string,
  path: string,
): Promise<{ readonly mode: number; readonly linkTarget: string } | undefined> {
  try {
    const { headers } = await ctx.client.stream("HEAD", `/containers/${container}/archive`, { query: { path } });
    const text = Buffer.from(String(headers["x-docker-container-path-stat"]), "base64").toString("utf8");
    return JSON.parse(text) as { mode: number; linkTarget: string };
  } catch (error) {
    if (
      error instanceof Error &&
      "status" in error &&
      error.status === 404 &&
      !/no such container/i.test(messageOf(error))
    )
      return undefined;
    throw error;
  }
}

function packPath(path: string, name: string, followLink: boolean): Readable {
  const pack = tar.pack();
  addPath(pack, path, name, followLink).then(
    () => pack.finalize(),
    (error: unknown) => pack.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  return Readable.from(pack);
}

async function addPath(pack: tar.Pack, path: string, name: string, follow: boolean): Promise<void> {
  const stat = follow ? statSync(path) : lstatSync(path);
  const header = { name, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid, mtime: stat.mtime };
  if (stat.isSymbolicLink()) pack.entry({ ...header, type: "symlink", linkname: readlinkSync(path) });
  else if (stat.isDirectory()) {
    pack.entry({ ...header, type: "directory" });
    for (const child of readdirSync(path).sort()) await addPath(pack, join(path, child), `${name}/${child}`, false);
  } else if (stat.isFile()) {
    const entry = pack.entry({ ...header, type: "file", size: stat.size });
    await pipeline(createReadStream(path, stat.size > 0 ? { end: stat.size - 1 } : {}), entry as unknown as Writable);
  }
}
