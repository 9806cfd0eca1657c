/** Digests of files to be copied: what a build step's result depends on. */
import { createHash, type Hash } from "node:crypto";
import { extract, type Header } from "tar-stream";
import type { ConfinedRoot } from "../archive/confined-root.ts";
import type { OpContext } from "../base/op-context.ts";
import { cacheKey } from "./build-cache.ts";

/**
 * Digest of a file, or of everything below a directory: names, types, modes, links, extended attributes and contents;
 * owners only when they are copied; never times.
 */
export async function digestTree(
  ctx: OpContext,
  root: ConfinedRoot,
  path: string,
  options: { readonly isDirectory: boolean; readonly exclude: readonly string[]; readonly owners: boolean },
): Promise<string> {
  const tar = await root.pack(ctx, {
    path,
    // A file's own name is no part of it: the destination's counts.
    rename: options.isDirectory ? "" : "file",
    semantics: "plain",
    exclude: options.exclude,
  });
  const total = createHash("sha256");
  const parser = extract();
  tar.once("error", (error) => {
    parser.destroy(error);
  });
  tar.pipe(parser);
  try {
    for await (const entry of parser) {
      ctx.signal.throwIfAborted();
      total.update(headerKey(entry.header, options.owners));
      const content = createHash("sha256");
      for await (const chunk of entry) updateWith(content, chunk);
      total.update(content.digest());
    }
  } catch (error) {
    // The packer's error says more than the parser's about it.
    if (tar.errored !== null) throw tar.errored;
    throw error;
  } finally {
    tar.destroy();
  }
  return total.digest("hex");
}

function headerKey(header: Header, owners: boolean): string {
  const attributes = Object.entries(header.pax ?? {}).filter(([name]) => name.startsWith("SCHILY.xattr."));
  return cacheKey({
    name: header.name.replace(/\/$/, ""),
    type: header.type ?? "file",
    mode: header.mode ?? 0,
    size: header.size ?? 0,
    link: header.linkname ?? "",
    device: [header.devmajor ?? 0, header.devminor ?? 0],
    attributes,
    ...(owners ? { uid: header.uid ?? 0, gid: header.gid ?? 0 } : {}),
  });
}

function updateWith(hash: Hash, chunk: unknown): void {
  if (chunk instanceof Uint8Array) hash.update(chunk);
}
