import { createReadStream, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import * as tar from "tar-stream";

/** Files up to this many bytes are read whole: opening a stream for each takes longer than reading it. */
const wholeBytes = 256 * 1024;
/** What is handed on at a time: a request's chunk, and a write to the socket, for each header and each small file cost more than both. */
const gatheredBytes = 256 * 1024;

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
  return Readable.from(gathered(pack), { objectMode: false });
}

/** A context of one file. */
export function packFile(name: string, data: Buffer): Readable {
  const pack = tar.pack();
  pack.entry({ name, mode: 0o644 }, data);
  pack.finalize();
  return Readable.from(pack);
}

async function addDirectory(pack: tar.Pack, root: string, inside: string): Promise<void> {
  for (const name of readdirSync(join(root, inside)).sort()) {
    const path = inside === "" ? name : `${inside}/${name}`;
    const stat = lstatSync(join(root, path));
    // The image gets root's files whoever builds it, as with docker.
    const header = { name: path, mode: stat.mode & 0o7777, uid: 0, gid: 0, mtime: stat.mtime };
    if (stat.isSymbolicLink()) pack.entry({ ...header, type: "symlink", linkname: readlinkSync(join(root, path)) });
    else if (stat.isDirectory()) {
      pack.entry({ ...header, type: "directory" });
      await addDirectory(pack, root, path);
    } else if (stat.isFile() && stat.size <= wholeBytes) {
      const content = readFileSync(join(root, path));
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      pack.entry({ ...header, type: "file" }, content, (error) => (error ? reject(error) : resolve()));
      await promise;
    } else if (stat.isFile()) {
      const entry = pack.entry({ ...header, type: "file", size: stat.size });
      const source = createReadStream(join(root, path), { end: stat.size - 1 });
      await pipeline(source, entry as unknown as Writable);
    }
  }
}

async function* gathered(pack: tar.Pack): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of pack) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError("a tar is made of buffers");
    parts.push(chunk);
    size += chunk.length;
    if (size < gatheredBytes) continue;
    yield Buffer.concat(parts);
    parts = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(parts);
}
