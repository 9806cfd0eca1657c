/**
 * KubeVirt's containerDisk: an image with one layer, whose `/disk/disk.qcow2` is a machine's disk. Owner and mode are those that KubeVirt
 * asks for (its user "qemu", read-only).
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { NO_XATTRS, type TarEntry } from "../archive/tar-entry.ts";
import type { ConfinedRoot } from "../archive/confined-root.ts";
import { encodeEntry, END_OF_ARCHIVE, roundUp } from "../archive/tar-writer.ts";
import { isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { ImageService } from "../images/image-service.ts";
import type { ImageRecord } from "../schema/image.ts";

const owner = 107;
/** In the image's configuration: where it came from, and how large the disk is for a machine. */
export const diskLabels = { source: "io.berth.machine.source", size: "io.berth.machine.disk-size" } as const;

export interface NewContainerDisk {
  /** The qcow2. */
  readonly file: string;
  /** Bytes that a machine sees. */
  readonly virtualSize: number;
  /** "machine/debian:bookworm". */
  readonly reference: string;
  /** What it was made of, for people. */
  readonly source: string;
}

/** Stores the disk as an image. */
export async function storeContainerDisk(
  ctx: OpContext,
  images: Pick<ImageService, "import">,
  disk: NewContainerDisk,
  progress: ProgressSink,
): Promise<ImageRecord> {
  const { size } = await stat(disk.file);
  const changes = [
    `LABEL ${diskLabels.source}=${JSON.stringify(disk.source)} ${diskLabels.size}="${disk.virtualSize}"`,
  ];
  const message = `machine's disk made of ${disk.source}`;
  const tar = Readable.from(diskTar(disk.file, size), { objectMode: false });
  try {
    const onDiskLine: ProgressSink = (event) => progress({ ...event, id: "disk" });
    return await images.import(ctx, { tar, reference: disk.reference, message, changes }, onDiskLine);
  } finally {
    tar.destroy();
  }
}

/** Whether the image's configuration says that it is a disk made here; a foreign one says nothing. */
export function isMachineDisk({ config }: Pick<ImageRecord, "config">): boolean {
  return config.config?.Labels?.[diskLabels.size] !== undefined;
}

/** Whether there is a disk where KubeVirt looks for one. */
export async function hasDiskFile(ctx: OpContext, root: ConfinedRoot): Promise<boolean> {
  try {
    const found = await root.list(ctx, "/disk");
    return found.some(({ path, kind }) => kind === "file" && /^[^/]+\.(?:qcow2|img|raw)$/.test(path));
  } catch (error) {
    if (isBerthError(error, "PATH_NOT_FOUND", "PATH_NOT_DIRECTORY")) return false;
    throw error;
  }
}

async function* diskTar(file: string, size: number): AsyncGenerator<Buffer> {
  yield encodeEntry(entry({ type: "directory", name: "disk/", mode: 0o555, size: 0 }));
  yield encodeEntry(entry({ type: "file", name: "disk/disk.qcow2", mode: 0o440, size }));
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) yield chunk as Buffer;
  yield Buffer.alloc(roundUp(size) - size);
  yield END_OF_ARCHIVE;
}

function entry(given: Pick<TarEntry, "type" | "name" | "mode" | "size">): TarEntry {
  const none = { linkName: "", deviceMajor: 0, deviceMinor: 0, xattrs: NO_XATTRS };
  return { ...given, ...none, uid: owner, gid: owner, mtime: { seconds: 0, nanoseconds: 0 } };
}
