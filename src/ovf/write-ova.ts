import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { encodeEntry, END_OF_ARCHIVE, roundUp } from "../archive/tar-writer.ts";
import { NO_XATTRS, toBinary } from "../archive/tar-entry.ts";
import type { OpContext } from "../base/op-context.ts";
import { writeManifest } from "./manifest.ts";
import type { OvfMachine } from "./ovf-machine.ts";
import { writeEnvelope } from "./write-envelope.ts";

/** A disk of the machine as it goes into the archive: a streamOptimized vmdk. */
export interface OvaDisk {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

export interface OvaRequest {
  /** Of the files in the archive; no path. */
  readonly name: string;
  /** Its disks' files, in the order of `disks`, are named by {@link diskFileName}. */
  readonly machine: OvfMachine;
  readonly disks: readonly OvaDisk[];
  readonly date: Date;
}

export function diskFileName(name: string, index: number): string {
  return `${name}-disk${index + 1}.vmdk`;
}

/** The archive, piece by piece: description, manifest, disks (DSP0243, 5.3: in this order, so that it can be read as it comes). */
export async function* writeOva(
  ctx: OpContext,
  { name, machine, disks, date }: OvaRequest,
): AsyncGenerator<Buffer, void, void> {
  const envelope = Buffer.from(writeEnvelope(machine));
  const manifest = Buffer.from(
    writeManifest([
      { file: `${name}.ovf`, sha256: createHash("sha256").update(envelope).digest("hex") },
      ...disks.map(({ sha256 }, index) => ({ file: diskFileName(name, index), sha256 })),
    ]),
  );
  yield* member(`${name}.ovf`, envelope);
  yield* member(`${name}.mf`, manifest);
  for (const [index, disk] of disks.entries()) {
    yield header(diskFileName(name, index), disk.size);
    await using file = await open(disk.path, "r");
    let bytes = 0;
    for await (const chunk of file.createReadStream({ autoClose: false, highWaterMark: 1024 * 1024 })) {
      ctx.signal.throwIfAborted();
      bytes += chunk.length;
      yield chunk;
    }
    if (bytes !== disk.size) throw new Error(`${disk.path} has changed while it was read`);
    yield padding(disk.size);
  }
  yield END_OF_ARCHIVE;

  function* member(file: string, contents: Buffer): Generator<Buffer, void, void> {
    yield header(file, contents.length);
    yield contents;
    yield padding(contents.length);
  }

  function header(file: string, size: number): Buffer {
    return encodeEntry({
      type: "file",
      name: toBinary(file),
      linkName: "",
      mode: 0o644,
      uid: 0,
      gid: 0,
      size,
      mtime: { seconds: Math.floor(date.getTime() / 1000), nanoseconds: 0 },
      deviceMajor: 0,
      deviceMinor: 0,
      xattrs: NO_XATTRS,
    });
  }
}

function padding(size: number): Buffer {
  return Buffer.alloc(roundUp(size) - size);
}
