import { type FileHandle, open } from "node:fs/promises";

/** The files of one log, opened together. */
export interface LogFiles extends AsyncDisposable {
  /** Oldest first; the last is the one being written. Empty when nothing was logged yet. */
  readonly files: readonly LogFile[];
}

export interface LogFile {
  readonly handle: FileHandle;
  readonly inode: number;
  /** Bytes when it was opened. */
  readonly size: number;
}

/** Opens `path` and its rotated predecessors (`path.1` is the youngest). A rotation meanwhile shows no file twice. */
export async function openLogFiles(path: string): Promise<LogFiles> {
  const files: LogFile[] = [];
  const close = async () => {
    await Promise.all(files.map(({ handle }) => handle.close()));
  };
  try {
    for (let index = 0; ; index++) {
      const file = await openLogFile(rotatedPath(path, index));
      if (file === undefined && index > 0) break;
      if (file === undefined) continue;
      if (files.some(({ inode }) => inode === file.inode)) await file.handle.close();
      else files.unshift(file);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { files, [Symbol.asyncDispose]: close };
}

/** Undefined when there is none. */
export async function openLogFile(path: string): Promise<LogFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  const { ino, size } = await handle.stat();
  return { handle, inode: ino, size };
}

/** Index 0 is the file being written. */
export function rotatedPath(path: string, index: number): string {
  return index === 0 ? path : `${path}.${index}`;
}
