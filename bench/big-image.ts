/** A big image of realistic files, as archives on the disk: what load, save, import, export, pull and build are measured with. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, type Stats } from "node:fs";
import { lstat, mkdir, readdir, readFile, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack, type Pack } from "tar-stream";

export interface BigImage {
  /** What the archives are tagged with. */
  readonly tag: string;
  /** A docker-archive with the layer as it is. */
  readonly plain: string;
  /** A docker-archive with the layer compressed. */
  readonly gzip: string;
  /** The layer alone: a root file system. */
  readonly rootfs: string;
  /** Bytes of `rootfs`: what all rates are told by. */
  readonly bytes: number;
  readonly files: number;
}

const tree = "/usr";
const wantedBytes = 170e6;
/** One huge file would make a quick image of any size. */
const largestFile = 4e6;

/** Makes the archives in `directory`. Which files of the host's /usr they hold follows from the files' names alone. */
export async function makeBigImage(directory: string, tag: string): Promise<BigImage> {
  await mkdir(directory, { recursive: true });
  const rootfs = join(directory, "rootfs.tar");
  const files = await writeRootfs(rootfs);
  const compressed = join(directory, "rootfs.tar.gz");
  await pipeline(createReadStream(rootfs), createGzip(), createWriteStream(compressed));
  const diffId = await digestOf(rootfs);
  const plain = join(directory, "plain.tar");
  await writeArchive(plain, { tag, diffId, layer: rootfs });
  const gzip = join(directory, "gzip.tar");
  await writeArchive(gzip, { tag, diffId, layer: compressed });
  return { tag, plain, gzip, rootfs, bytes: (await stat(rootfs)).size, files };
}

interface Found {
  readonly path: string;
  readonly stats: Stats;
}

async function writeRootfs(target: string): Promise<number> {
  const chosen: Found[] = [];
  let bytes = 0;
  const order = new Map<string, string>();
  const found = await filesBelow(tree);
  for (const { path } of found) order.set(path, createHash("sha1").update(path).digest("hex"));
  const shuffled = found.toSorted((a, b) => ((order.get(a.path) ?? "") < (order.get(b.path) ?? "") ? -1 : 1));
  for (const file of shuffled) {
    if (bytes >= wantedBytes) break;
    if (file.stats.size > largestFile) continue;
    chosen.push(file);
    bytes += 512 + Math.ceil(file.stats.size / 512) * 512;
  }
  const archive = pack();
  const written = pipeline(archive, createWriteStream(target));
  for (const file of chosen.toSorted((a, b) => (a.path < b.path ? -1 : 1))) await addFile(archive, file);
  archive.finalize();
  await written;
  return chosen.length;
}

async function filesBelow(directory: string): Promise<readonly Found[]> {
  const found: Found[] = [];
  for (const item of await readdir(directory, { withFileTypes: true, recursive: true })) {
    if (!item.isFile() && !item.isSymbolicLink()) continue;
    const path = join(item.parentPath, item.name);
    found.push({ path, stats: await lstat(path) });
  }
  return found;
}

async function addFile(archive: Pack, { path, stats }: Found): Promise<void> {
  const head = { name: path.slice(1), mode: stats.mode & 0o7777, mtime: new Date("2024-01-02T03:04:05Z") };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const done = (error?: Error | null): void => (error ? reject(error) : resolve());
  if (stats.isSymbolicLink()) archive.entry({ ...head, type: "symlink", linkname: await readlink(path) }, done);
  else archive.entry(head, await readFile(path), done);
  await promise;
}

async function writeArchive(
  target: string,
  image: { readonly tag: string; readonly diffId: string; readonly layer: string },
): Promise<void> {
  const config = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    created: "2024-01-02T03:04:05Z",
    config: { Cmd: ["true"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${image.diffId}`] },
    history: [{ created: "2024-01-02T03:04:05Z", created_by: "bench" }],
  });
  const configName = `${createHash("sha256").update(config).digest("hex")}.json`;
  const layerName = `${image.diffId}/layer.tar`;
  const archive = pack();
  const written = pipeline(archive, createWriteStream(target));
  const layer = archive.entry({ name: layerName, size: (await stat(image.layer)).size });
  await pipeline(createReadStream(image.layer), layer);
  archive.entry({ name: configName }, config);
  archive.entry(
    { name: "manifest.json" },
    JSON.stringify([{ Config: configName, RepoTags: [image.tag], Layers: [layerName] }]),
  );
  archive.finalize();
  await written;
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path) as Readable) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
