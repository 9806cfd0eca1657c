import { Readable } from "node:stream";
import type { ConfinedRoot } from "../../archive/confined-root.ts";
import { memberOf } from "../../archive/fake/tar-builder.ts";
import { fromBinary, type TarEntry } from "../../archive/tar-entry.ts";
import { TarParser } from "../../archive/tar-parser.ts";
import { END_OF_ARCHIVE } from "../../archive/tar-writer.ts";
import type { OpContext } from "../../base/op-context.ts";

/** Applies a layer to a copy of what lies below: whiteouts delete, everything else is unpacked over it. */
export async function applyLayerTar(ctx: OpContext, root: ConfinedRoot, tar: Buffer): Promise<void> {
  const kept: Buffer[] = [];
  for (const { entry, data } of readTar(tar)) {
    const name = fromBinary(entry.name).replace(/\/$/, "");
    const directory = name.slice(0, name.lastIndexOf("/") + 1);
    const base = name.slice(directory.length);
    if (base === ".wh..wh..opq") {
      const path = `/${directory}`;
      const there = (await root.list(ctx, "/")).some((file) => file.path === directory.slice(0, -1));
      if (there) for (const file of await root.list(ctx, path)) await root.remove(ctx, `${path}${file.path}`);
    } else if (base.startsWith(".wh.")) {
      if (!base.startsWith(".wh..wh.")) await root.remove(ctx, `/${directory}${base.slice(".wh.".length)}`);
    } else {
      kept.push(memberOf({ ...entry, data }));
    }
  }
  const stream = Readable.from([Buffer.concat([...kept, END_OF_ARCHIVE])]);
  await root.extract(ctx, { source: { stream }, compression: "none", into: "/", semantics: "plain" });
}

function readTar(tar: Buffer): readonly { readonly entry: TarEntry; readonly data: Buffer }[] {
  const members: { entry: TarEntry; data: Buffer }[] = [];
  const parser = new TarParser(
    {
      entry: (entry) => void members.push({ entry, data: Buffer.alloc(entry.size) }),
      data: (chunk, position) => {
        members.at(-1)?.data.set(chunk, position);
      },
      endEntry() {},
    },
    { maxBytes: Infinity, maxEntries: Infinity },
  );
  parser.feed(tar);
  parser.end();
  return members;
}
