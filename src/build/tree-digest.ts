/** Digests of files to be copied: what a build step's result depends on. */
import { createHash } from "node:crypto";
import { extract, type Header } from "tar-stream";
import type { ConfinedRoot } from "../archive/confined-root.ts";
import type { OpContext } from "../base/op-context.ts";

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
  tar.once("error", (error) => parser.destroy(error));
  tar.pipe(parser);
  try {
    for await (const entry of parser) {
      ctx.signal.throwIfAborted();
      // The header states the content's size, so that one file's end can't pass for the next one's beginning.
      total.update(headerLine(entry.header, options.owners));
      for await (const chunk of entry) if (chunk instanceof Uint8Array) total.update(chunk);
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

/** What counts of a header, in one line. */
function headerLine(header: Header, owners: boolean): string {
  const attributes = Object.entries(header.pax ?? {}).filter(([name]) => name.startsWith("SCHILY.xattr."));
  return `${JSON.stringify([
    header.name.replace(/\/$/, ""),
    header.type,
    header.mode,
    header.size,
    header.linkname,
    header.devmajor,
    header.devminor,
    attributes.sort(([a], [b]) => (a < b ? -1 : 1)),
    ...(owners ? [header.uid, header.gid] : []),
  ])}\n`;
}
