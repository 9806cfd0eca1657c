import { createReadStream, lstatSync, opendirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import * as tar from "tar-stream";

/**
 * The build context as a tar. `.dockerignore` is applied by the engine, which knows its rules.
 */
export function packContext(root: string, dockerfileName: string, dockerfile: Buffer | undefined): Readable {
  const pack = tar.pack();
  const work = async () => {
    await addDirectory(pack, root, "");
    if (dockerfile !== undefined) pack.entry({ name: dockerfileName, mode: 0o644 }, dockerfile);
    pack.finalize();
  };
  work().catch((error: unknown) => pack.destroy(error instanceof Error ? error : new Error(String(error))));
  return Readable.from(pack);
}

/** A context of one file. */
export function packFile(name: string, data: Buffer): Readable {
  const pack = tar.pack();
  pack.entry({ name, mode: 0o644 }, data);
  pack.finalize();
  return Readable.from(pack);
}

async function addDirectory(pack: tar.Pack, root: string, inside: string): Promise<void> {
  const names: string[] = [];
  const directory = opendirSync(join(root, inside));
  for await (const entry of directory) names.push(entry.name);
  for (const name of names.sort()) {
    const path = inside === "" ? name : `${inside}/${name}`;
    const stat = lstatSync(join(root, path));
    // The image gets root's files whoever builds it, as with docker.
    const header = { name: path, mode: stat.mode & 0o7777, uid: 0, gid: 0, mtime: stat.mtime };
    if (stat.isSymbolicLink()) pack.entry({ ...header, type: "symlink", linkname: readlinkSync(join(root, path)) });
    else if (stat.isDirectory()) {
      pack.entry({ ...header, type: "directory" });
      await addDirectory(pack, root, path);
    } else if (stat.isFile()) {
      const entry = pack.entry({ ...header, type: "file", size: stat.size });
      const source = stat.size > 0 ? createReadStream(join(root, path), { end: stat.size - 1 }) : Readable.from([]);
      await pipeline(source, entry as unknown as Writable);
    }
  }
}
