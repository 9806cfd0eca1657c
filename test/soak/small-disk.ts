/** A small file system of our own in a file, that can be filled to the last block. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export class SmallDisk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  readonly #directory: string;
  readonly #mounts = new Set<string>();

  private constructor(directory: string) {
    this.#directory = directory;
    this.path = join(directory, "disk");
  }

  /** An ext4 of so many MiB. Needs root and a loop device; the kernel lets go of the device when it is unmounted. */
  static async make(sizeMiB: number): Promise<SmallDisk> {
    const disk = new SmallDisk(mkdtempSync(join(realpathSync(tmpdir()), "berth-soak-disk-")));
    try {
      const image = join(disk.#directory, "image");
      writeFileSync(image, "");
      truncateSync(image, sizeMiB * 1024 * 1024);
      run("mkfs.ext4", "-q", "-m", "0", image);
      mkdirSync(disk.path);
      run("mount", "-o", "loop,noatime", image, disk.path);
      disk.#mounts.add(disk.path);
    } catch (error) {
      await disk[Symbol.asyncDispose]();
      throw error;
    }
    return disk;
  }

  /** Takes all room but about `leaveKiB`. */
  fill(leaveKiB: number): void {
    const { bavail, bsize } = statfsSync(this.path);
    const bytes = bavail * bsize - leaveKiB * 1024;
    if (bytes <= 0) return;
    try {
      run("fallocate", "-l", String(bytes), join(this.path, "ballast"));
    } catch {
      // Somebody was faster with the last blocks: what it got is as much as there was.
    }
  }

  /** Gives the room back. */
  free(): void {
    rmSync(join(this.path, "ballast"), { force: true });
  }

  usedMiB(): number {
    const { blocks, bfree, bsize } = statfsSync(this.path);
    return ((blocks - bfree) * bsize) / 1024 / 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let tries = 0; this.#mounts.size > 0; tries++) {
      try {
        // Busy for a moment after the engine's end; at last it goes as soon as nobody uses it.
        run("umount", ...(tries < 50 ? [] : ["--lazy"]), this.path);
        this.#mounts.clear();
      } catch (error) {
        if (tries > 50) throw error;
        await sleep(100);
      }
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function run(program: string, ...words: readonly string[]): void {
  execFileSync(program, words, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
  });
}
