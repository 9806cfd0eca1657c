/** Mounting stacks of directories with overlayfs. */
import { accessSync, closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { backoffDelay } from "../base/backoff.ts";
import type { OpContext } from "../base/op-context.ts";
import { errnoOf } from "../host/errors.ts";
import { mkdir, rm, rmdir } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import type { MountOp } from "../host/kernel-ops.ts";
import { snapshotErrors } from "./errors.ts";

/** Together about a second and a half. */
const busyAttempts = 10;
const busyDelay = { initialMs: 1, maxMs: 400, factor: 2.5 };

/** A full disk may have room again by the time that it is looked at. */
const writableAttempts = 3;

/** mount(2) takes one page of options, with its terminator. */
const MAX_OPTIONS = 4095;

/**
 * Features that would tie an upper directory to this very stack of layers: without them it can become a layer elsewhere,
 * and be packed by looking at it alone.
 */
const PORTABLE = "redirect_dir=nofollow,metacopy=off,index=off";

export interface OverlayDirectories {
  /** Directory that the relative `lower` paths start at. */
  readonly base: string;
  /** Topmost first; relative to `base` or absolute. At least one. */
  readonly lower: readonly string[];
  /** The snapshot's own; undefined for a read-only view. */
  readonly upper?: { readonly upper: string; readonly work: string };
}

export class OverlayMounts {
  readonly #kernel: Host["kernel"];

  constructor(kernel: Host["kernel"]) {
    this.#kernel = kernel;
  }

  /**
   * Mounts the stack on `target`. `volatile` leaves out every sync, also the one at unmounting. Overlayfs that can't make its work
   * directory mounts read-only and calls that a success: what kept it from that (a full disk, mostly) is thrown here.
   */
  async mount(ctx: OpContext, target: string, directories: OverlayDirectories, volatile: boolean): Promise<void> {
    const { upper } = directories;
    for (let attempt = 0; attempt < writableAttempts; attempt++) {
      await this.#mount(ctx, target, directories, volatile);
      if (upper === undefined || !isReadOnly(target)) return;
      await this.unmount(ctx, target);
      await tryToMakeDirectory(upper.work);
    }
    throw snapshotErrors.SNAPSHOT_READ_ONLY({ target });
  }

  async #mount(ctx: OpContext, target: string, directories: OverlayDirectories, volatile: boolean): Promise<void> {
    const { base, lower, upper } = directories;
    if (upper === undefined && lower.length === 1) {
      // Overlayfs wants two directories at least when none is writable.
      await this.#apply(ctx, {
        op: "mount",
        source: absolute(base, lower[0] ?? ""),
        target,
        flags: ["bind", "ro", "private"],
      });
      return;
    }
    if (upper !== undefined) await forgetVolatileUse(upper.work);
    const options = optionsFor(directories, base, volatile);
    if (Buffer.byteLength(options) <= MAX_OPTIONS) {
      await this.#apply(ctx, overlayOp(target, options));
      return;
    }
    // Descriptors belong to the process, so the kernel worker's thread finds the layers by a name of 17 bytes.
    const fd = openSync(base, "r");
    try {
      await this.#apply(ctx, overlayOp(target, optionsFor(directories, `/proc/self/fd/${fd}`, volatile)));
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Unmounts; not mounted is no error. It is asked for again for a moment, since a process that is just being spawned has copies of
   * all our descriptors until it becomes its program. A mount that something uses for longer goes when its last user does.
   */
  async unmount(ctx: OpContext, target: string): Promise<void> {
    for (let attempt = 0; attempt < busyAttempts; attempt++) {
      try {
        return await this.#apply(ctx, { op: "unmount", target });
      } catch (error) {
        if (errnoOf(error) !== "EBUSY") throw error;
      }
      await sleep(backoffDelay(busyDelay, attempt));
    }
    ctx.log.warn({ target }, "root file system is still in use: detaching it");
    await this.#apply(ctx, { op: "unmount", target, detach: true });
  }

  /** Targets of mounts at or below `prefix`, in mount order. */
  async targets(prefix: string): Promise<readonly string[]> {
    return (await this.#kernel.mounts(prefix)).map(({ target }) => target);
  }

  async #apply(ctx: OpContext, op: MountOp): Promise<void> {
    await this.#kernel.apply(ctx, [op]);
  }
}

/** The option string; a colon in a path separates nothing when escaped, and a comma neither. */
export function optionsFor(directories: OverlayDirectories, base: string, volatile: boolean): string {
  const escape = (path: string) => path.replace(/[\\,:]/g, "\\$&");
  const { lower, upper } = directories;
  const options = [`lowerdir=${lower.map((path) => escape(absolute(base, path))).join(":")}`];
  if (upper !== undefined) {
    const commas = (path: string) => path.replace(/[\\,]/g, "\\$&");
    options.push(`upperdir=${commas(upper.upper)}`, `workdir=${commas(upper.work)}`);
  }
  options.push(PORTABLE);
  if (volatile && upper !== undefined) options.push("volatile");
  return options.join(",");
}

function overlayOp(target: string, data: string): MountOp {
  return { op: "mount", source: "overlay", target, fstype: "overlay", flags: ["private"], data };
}

function absolute(base: string, path: string): string {
  return path.startsWith("/") ? path : join(base, path);
}

/** Overlayfs marks a work directory that was used without syncs and refuses it from then on; ours hold nothing of worth. */
async function forgetVolatileUse(work: string): Promise<void> {
  await rm(join(work, "work", "incompat"), { recursive: true, force: true });
}

function isReadOnly(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch (error) {
    return errnoOf(error) === "EROFS";
  }
}

async function tryToMakeDirectory(parent: string): Promise<void> {
  const probe = join(parent, "probe");
  await mkdir(probe);
  await rmdir(probe);
}
