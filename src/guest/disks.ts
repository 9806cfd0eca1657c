/**
 * Disks of machines: an ext4 file for each image, read-only and shared by all that run it; and the blank formatted disk under all
 * scratch overlays of one size. Sparse, published by rename. The host's kernel never mounts one that a guest has written.
 */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../base/ids.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import { noProgress, type ProgressSink } from "../base/progress.ts";
import { mkdir, rename, rm, writeFile } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import { guestErrors } from "./errors.ts";
import { emptyOverlay } from "./qcow2-overlay.ts";

const MiB = 1024 * 1024;
/** ext4's own needs beside the files: a share of it for block maps and directories, and some for good. */
const overhead = { share: 1.1, bytes: 32 * MiB, perFile: 512 };
const sparseInodes = 4096;
const makeMs = 600_000;

const formatOptions = ["-q", "-F", "-b", "4096", "-m", "0"] as const;
/** Zeros are not written, tables not initialised: what is not used takes no room. (Of several -E, mke2fs takes the last.) */
const extended = "lazy_itable_init=1,lazy_journal_init=1,nodiscard";
/**
 * The same bytes whenever it is made: overlays, and the memory of machines that have one mounted, outlive the blank disk. With metadata
 * checksums, which its UUID is part of, another one would be a damaged one.
 */
const blankId = "b1a4c0de-0000-4000-8000-626572746821";
const blankTime = "1700000000";

export interface MachineDisksOptions {
  readonly host: Pick<Host, "processes">;
  /** The engine's own directory for this, on the data root. */
  readonly root: string;
}

export interface ImageTree {
  /** Names the disk: hex digits of the image's topmost layer, say. */
  readonly digest: string;
  /** The image's root file system, mounted. */
  readonly directory: string;
}

/** Made by mkfs.ext4 in every file system. */
const lostAndFound = "lost+found";

export class MachineDisks {
  readonly #options: MachineDisksOptions;
  readonly #making = new KeyedMutex();

  constructor(options: MachineDisksOptions) {
    this.#options = options;
  }

  /** Path of the image's disk; whether it has to be made first: {@link hasImage}. */
  async image(ctx: OpContext, tree: ImageTree, progress: ProgressSink = noProgress): Promise<string> {
    const path = this.imagePath(tree.digest);
    return await this.#once(path, async (draft) => {
      progress({ id: tree.digest.slice(0, 12), status: "Making the image's disk" });
      const { bytes, files } = await this.#measure(ctx, tree.directory);
      const size = Math.ceil((bytes * overhead.share + files * overhead.perFile + overhead.bytes) / MiB);
      // Never written to: no journal. One inode for each file, and those that each file system has.
      const options = ["-E", extended, "-O", "^has_journal", "-N", String(files + sparseInodes), "-d", tree.directory];
      await this.#format(ctx, draft, options, size);
      if (!existsSync(join(tree.directory, lostAndFound))) await this.#dropLostAndFound(ctx, draft);
      progress({ id: tree.digest.slice(0, 12), status: "Disk complete" });
    });
  }

  hasImage(digest: string): boolean {
    return existsSync(this.imagePath(digest));
  }

  /** Path of the blank disk of this virtual size, MiB. */
  async blank(ctx: OpContext, sizeMiB: number): Promise<string> {
    const path = join(this.#options.root, "blank", `${sizeMiB}.ext4`);
    const options = ["-E", `${extended},hash_seed=${blankId}`, "-U", blankId, "-J", "size=8"];
    return await this.#once(path, async (draft) => await this.#format(ctx, draft, options, sizeMiB));
  }

  /** A new scratch disk at `path`: all of it is the blank disk's, which QEMU will see at `backing`. */
  async scratch(path: string, backing: string, sizeMiB: number): Promise<void> {
    const draft = `${path}.draft`;
    await writeFile(draft, emptyOverlay(backing, sizeMiB * MiB), { mode: 0o600 });
    await rename(draft, path);
  }

  /** Machines that have it open keep it until they end. */
  async removeImage(digest: string): Promise<void> {
    await rm(this.imagePath(digest), { force: true });
  }

  /** Removes what a killed engine left half made, and the disks of images that are not needed. */
  async collect(isNeeded: (digest: string) => Promise<boolean>): Promise<void> {
    for (const kind of ["images", "blank"]) {
      const directory = join(this.#options.root, kind);
      for (const name of existsSync(directory) ? await readdir(directory) : []) {
        const digest = /^([0-9a-f]{64})\.ext4$/.exec(name)?.[1];
        const isDraft = name.includes(".ext4.draft-");
        if (isDraft || (digest !== undefined && !(await isNeeded(digest))))
          await rm(join(directory, name), { force: true });
      }
    }
  }

  /** Where the disk of an image is, or would be. */
  imagePath(digest: string): string {
    return join(this.#options.root, "images", `${digest}.ext4`);
  }

  async #once(path: string, make: (draft: string) => Promise<void>): Promise<string> {
    return await this.#making.run(path, async () => {
      if (existsSync(path)) return path;
      const draft = `${path}.draft-${newId().slice(0, 12)}`;
      try {
        await mkdir(join(path, ".."), { recursive: true, mode: 0o700 });
        await make(draft);
        await rename(draft, path);
      } finally {
        await rm(draft, { force: true });
      }
      return path;
    });
  }

  async #format(ctx: OpContext, draft: string, options: readonly string[], sizeMiB: number): Promise<void> {
    const argv = [this.#tool("mkfs.ext4"), ...formatOptions, ...options, draft, `${sizeMiB}M`] as const;
    const env = { LC_ALL: "C", E2FSPROGS_FAKE_TIME: blankTime };
    const { code, stderr } = await this.#options.host.processes.run(ctx, { argv, env, timeoutMs: makeMs });
    if (code !== 0)
      throw guestErrors.GUEST_DISK_FAILED({
        disk: draft,
        reason: stderr.trim().split("\n").at(-1) ?? `exit code ${code}`,
      });
  }

  /** The directory is for a repair that this disk never has, and is none of the image's: its containers don't see one either. */
  async #dropLostAndFound(ctx: OpContext, draft: string): Promise<void> {
    const argv = [this.#tool("debugfs"), "-w", "-R", `rmdir /${lostAndFound}`, draft] as const;
    const { code, stderr } = await this.#options.host.processes.run(ctx, { argv, timeoutMs: makeMs });
    if (code !== 0) throw guestErrors.GUEST_DISK_FAILED({ disk: draft, reason: stderr.trim() || `exit code ${code}` });
  }

  /** Bytes on the disk (blocks of 4 KiB, whatever the host's file system packs) and number of files. */
  async #measure(ctx: OpContext, directory: string): Promise<{ readonly bytes: number; readonly files: number }> {
    const apparent = await this.#du(ctx, ["--apparent-size", "-B1", directory]);
    const files = await this.#du(ctx, ["--inodes", directory]);
    return { bytes: apparent + files * 4096, files };
  }

  async #du(ctx: OpContext, options: readonly string[]): Promise<number> {
    const argv = [this.#tool("du"), "-s", "-x", ...options] as const;
    const { code, stdout, stderr } = await this.#options.host.processes.run(ctx, { argv, timeoutMs: makeMs });
    const value = Number.parseInt(stdout, 10);
    if (code !== 0 || !Number.isSafeInteger(value)) {
      throw guestErrors.GUEST_DISK_FAILED({ disk: options.at(-1) ?? "", reason: stderr.trim() });
    }
    return value;
  }

  #tool(program: string): string {
    const path = this.#options.host.processes.which(program);
    if (path === undefined) throw guestErrors.GUEST_TOOL_MISSING({ program });
    return path;
  }
}
