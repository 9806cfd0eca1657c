/** File trees without a wall, for tests that are not root: owners are kept nowhere, everything else is real. */
import {
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { extract, pack } from "tar-stream";
import type {
  ConfinedRoot,
  ConfinedRoots,
  DigestRequest,
  ExtractRequest,
  ExtractResult,
  FileStat,
  PackRequest,
  SpoolRequest,
} from "../../archive/confined-root.ts";
import type { OpContext } from "../../base/op-context.ts";
import { archiveErrors } from "../../archive/errors.ts";
import type { IndexedMember } from "../../archive/tar-index.ts";
import { InProcessRoots } from "../../archive/fake/in-process-roots.ts";

export const directoryRoots: ConfinedRoots = {
  open: async (_ctx, directory) => new DirectoryRoot(await realpath(directory)),
};

class DirectoryRoot implements ConfinedRoot {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async stat(_ctx: unknown, path: string, options: { readonly follow?: boolean } = {}): Promise<FileStat> {
    const full = join(this.#directory, path);
    const found = await (options.follow === true ? stat(full) : lstat(full)).catch(() => {
      throw archiveErrors.PATH_NOT_FOUND({ path });
    });
    const kind = found.isDirectory() ? "directory" : found.isSymbolicLink() ? "symlink" : "file";
    return {
      name: posix.basename(path),
      kind,
      mode: found.mode & 0o7777,
      uid: 0,
      gid: 0,
      size: found.size,
      mtimeMs: found.mtimeMs,
      linkTarget: kind === "symlink" ? await readlink(full) : "",
    };
  }

  async readFile(_ctx: unknown, path: string): Promise<Uint8Array> {
    return await readFile(join(this.#directory, path)).catch(() => {
      throw archiveErrors.PATH_NOT_FOUND({ path });
    });
  }

  async makeDirectories(_ctx: unknown, path: string, options: { readonly mode: number }): Promise<void> {
    await mkdir(join(this.#directory, path), { recursive: true, mode: options.mode });
  }

  async remove(_ctx: unknown, path: string): Promise<void> {
    await rm(join(this.#directory, path), { recursive: true, force: true });
  }

  async diskUsage(): Promise<never> {
    throw new Error("not needed here");
  }

  async digest(ctx: OpContext, request: DigestRequest): Promise<string> {
    await using root = await new InProcessRoots().open(ctx, this.#directory);
    return await root.digest(ctx, request);
  }

  async spool(ctx: OpContext, request: SpoolRequest): Promise<readonly IndexedMember[] | undefined> {
    await using root = await new InProcessRoots().open(ctx, this.#directory);
    return await root.spool(ctx, request);
  }

  async list(): Promise<never> {
    throw new Error("no test needs it");
  }

  async extract(_ctx: unknown, request: ExtractRequest): Promise<ExtractResult> {
    const bytes = "path" in request.source ? await readFile(request.source.path) : await buffer(request.source.stream);
    const parser = extract();
    parser.end(bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes);
    let count = 0;
    for await (const entry of parser) {
      const path = join(this.#directory, request.into, entry.header.name);
      const content = await buffer(entry);
      const mode = request.chmod ?? entry.header.mode ?? 0o644;
      count++;
      await mkdir(dirname(path), { recursive: true });
      if (entry.header.type === "directory") await mkdir(path, { recursive: true, mode });
      else if (entry.header.type === "symlink") await symlink(entry.header.linkname ?? "", path);
      else {
        await writeFile(path, content, { mode });
        if (entry.header.mtime !== undefined) await utimes(path, entry.header.mtime, entry.header.mtime);
      }
    }
    return { diffId: "", size: 0, entries: count };
  }

  async pack(_ctx: unknown, request: PackRequest): Promise<Readable> {
    const tar = pack();
    const exclude = new Set(request.exclude);
    const add = async (path: string, name: string, relative: string): Promise<void> => {
      const found = await lstat(path);
      const header = { name, mode: found.mode & 0o7777, mtime: found.mtime };
      if (found.isSymbolicLink()) tar.entry({ ...header, type: "symlink", linkname: await readlink(path) });
      else if (!found.isDirectory()) tar.entry(header, await readFile(path));
      else {
        if (name !== "") tar.entry({ ...header, type: "directory" });
        for (const child of (await readdir(path)).sort()) {
          const below = posix.join(relative, child);
          if (!exclude.has(below)) await add(join(path, child), posix.join(name, child), below);
        }
      }
    };
    const path = join(this.#directory, request.path);
    await lstat(path).catch(() => {
      throw archiveErrors.PATH_NOT_FOUND({ path: request.path });
    });
    await add(path, request.rename ?? posix.basename(request.path), "");
    tar.finalize();
    return Readable.from([await buffer(tar)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
