/** Files to put over a tree, and the tar that carries them behind the wall. All are root's. */
import { Readable } from "node:stream";
import { NO_XATTRS, type TarEntry, toBinary } from "../archive/tar-entry.ts";
import { encodeEntry, END_OF_ARCHIVE, roundUp } from "../archive/tar-writer.ts";

export type OverlayFile =
  /** Its directories are made where they are missing. */
  | { readonly kind: "file"; readonly path: string; readonly content: string | Uint8Array; readonly mode?: number }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string }
  | { readonly kind: "directory"; readonly path: string; readonly mode?: number };

/** Of the files; the epoch: the same files make the same disk. Paths are relative to the tree. */
export function overlayTar(files: readonly OverlayFile[]): Readable {
  return Readable.from(entries(files), { objectMode: false });
}

function* entries(files: readonly OverlayFile[]): Generator<Buffer> {
  for (const file of files) {
    const content = file.kind === "file" ? Buffer.from(file.content) : Buffer.alloc(0);
    yield encodeEntry(entryOf(file, content.length));
    yield content;
    yield Buffer.alloc(roundUp(content.length) - content.length);
  }
  yield END_OF_ARCHIVE;
}

function entryOf(file: OverlayFile, size: number): TarEntry {
  const mode = { file: 0o644, symlink: 0o777, directory: 0o755 }[file.kind];
  return {
    type: file.kind,
    name: toBinary(file.kind === "directory" ? `${file.path}/` : file.path),
    linkName: toBinary(file.kind === "symlink" ? file.target : ""),
    mode: file.kind === "symlink" ? mode : (file.mode ?? mode),
    uid: 0,
    gid: 0,
    size,
    mtime: { seconds: 0, nanoseconds: 0 },
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: NO_XATTRS,
  };
}
