import { randomBytes } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { failpoints } from "../host/failpoints.ts";
import { rename, rm } from "../host/files.ts";
import { contentErrors } from "./errors.ts";

/**
 * Writes `bytes` to `path` so that after a crash it is there whole or not at all: temporary file in `draftDir` (same
 * file system), fsync, rename, fsync of the directory.
 */
export async function publishBytes(draftDir: string, path: string, bytes: Uint8Array): Promise<void> {
  const draft = join(draftDir, `put-${randomBytes(8).toString("hex")}`);
  if (failpoints.on) await failpoints.before("file.write", draft);
  try {
    await using file = await open(draft, "wx", 0o600);
    await writeAll(file, bytes, path);
    await syncAndRename(file, draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** Makes a finished draft durable and gives it its name. */
export async function syncAndRename(file: FileHandle, draft: string, path: string): Promise<void> {
  await file.chmod(0o644);
  await file.datasync();
  await rename(draft, path);
  await syncDirectory(dirname(path));
}

/** write(2) until all is written; a full disk is `CONTENT_DISK_FULL` naming `path`. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, path: string): Promise<void> {
  let written = 0;
  try {
    while (written < bytes.length) {
      written += (await file.write(bytes, written, bytes.length - written)).bytesWritten;
    }
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOSPC" || code === "EDQUOT") throw contentErrors.CONTENT_DISK_FULL({ path }, { cause: error });
    throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}
