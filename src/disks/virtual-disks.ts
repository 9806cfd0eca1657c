/**
 * The seam of the room: virtual disk files. {@link QemuImgDisks} is the real one.
 *
 * INVARIANTS
 *  - What a file's own header says is never followed: not to a backing file, not to a data file, not to extents. The files of a
 *    chain are those that the caller names.
 *  - A format is guessed only of files that are new here ({@link VirtualDisks.inspect} without `format`): whoever can write to a raw disk
 *    can make it look like any other.
 *  - A file that is made is there whole under its name, or not at all.
 */
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";

export const diskFormats = ["qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc"] as const;
/** QEMU's names; "vpc" is Microsoft's vhd. */
export type DiskFormat = (typeof diskFormats)[number];

/** A disk's file and what it is made of. One that is written to is the engine's own, in a directory that others can't enter. */
export interface DiskImage {
  readonly file: string;
  readonly format: DiskFormat;
  /** What shows through where this file has nothing; left out: nothing does. */
  readonly backing?: DiskImage;
}

export interface DiskInfo {
  readonly format: DiskFormat;
  /** vmdk: "monolithicSparse" or "streamOptimized". */
  readonly variant?: string;
  /** Bytes that the machine sees. */
  readonly virtualSize: number;
  /** Bytes on the host's disk. */
  readonly actualSize: number;
  /** The path in its header of what it is an overlay of. */
  readonly backing?: string;
  /** Names of the snapshots that are in the file. */
  readonly snapshots: readonly string[];
  /** It was not closed properly; {@link VirtualDisks.check} tells whether anything is wrong. */
  readonly dirty: boolean;
}

export interface InspectOptions {
  /** What it is known to be. */
  readonly format?: DiskFormat;
  /** What it may be an overlay of; left out, an overlay is refused. */
  readonly backing?: DiskImage;
  /** For messages, instead of the path. */
  readonly name?: string;
  /** A running machine may have it open. */
  readonly inUse?: boolean;
}

export interface CreateOptions {
  /** Bytes, a multiple of 512. */
  readonly size: number;
  readonly format?: "qcow2" | "raw";
  /** qcow2: tables made beforehand, which makes the first writes of a large disk faster and takes 1/8192 of its size. */
  readonly preallocation?: "off" | "metadata";
}

export interface OverlayOptions {
  readonly backing: DiskImage;
  /** The path that the machine will see it at; the backing file's own by default. */
  readonly recordedPath?: string;
  /** Bytes; that of the backing disk by default. Never less. */
  readonly size?: number;
}

export interface ConvertOptions {
  readonly source: DiskImage;
  /** Must not exist. */
  readonly target: string;
  readonly format: DiskFormat;
  /** vmdk: "streamOptimized" is what OVA files have (compressed). qcow2: `compressed`. */
  readonly subformat?: "monolithicSparse" | "streamOptimized";
  readonly compressed?: boolean;
  /** For messages. */
  readonly name?: string;
  /** A running machine may write to the source: what is read is not of one moment. */
  readonly inUse?: boolean;
  /** 0 to 1. */
  readonly progress?: (done: number) => void;
}

export type SnapshotAction = "create" | "apply" | "delete";

export interface CheckResult {
  /** Clusters whose contents are wrong; anything but 0 loses data. */
  readonly corruptions: number;
  /** Clusters that take room and hold nothing. */
  readonly leaks: number;
  /** Of those, how many a repair mended. */
  readonly repaired: number;
}

export interface VirtualDisks {
  /**
   * What `file` is. Refuses what is not safe or not whole, by name: `DISK_FORMAT_UNSUPPORTED`, `DISK_BACKING_REFUSED`, `DISK_ENCRYPTED`,
   * `DISK_CORRUPT`, `DISK_TOO_LARGE`; also `DISK_NOT_FOUND`.
   */
  inspect(ctx: OpContext, file: string, options?: InspectOptions): Promise<DiskInfo>;
  /** A blank disk. `DISK_EXISTS`, `DISK_SIZE_INVALID`, `DISK_TOO_LARGE`. */
  create(ctx: OpContext, file: string, options: CreateOptions): Promise<void>;
  /** A qcow2 that has everything of `backing` until it is written to. `DISK_EXISTS`, `DISK_SHRINK_REFUSED`, `DISK_TOO_LARGE`. */
  overlay(ctx: OpContext, file: string, options: OverlayOptions): Promise<void>;
  /** A whole file of the source's contents, with nothing behind it. `DISK_NO_SPACE` before anything is written. */
  convert(ctx: OpContext, options: ConvertOptions): Promise<void>;
  /** Grows it to `size` bytes. `DISK_SHRINK_REFUSED`, `DISK_IN_USE`. */
  resize(ctx: OpContext, disk: DiskImage, size: number): Promise<void>;
  /**
   * Makes, removes, or goes back to a snapshot inside a qcow2 that no machine uses. Removing one that is not there is no error;
   * going back to one is `DISK_SNAPSHOT_MISSING`. `DISK_IN_USE`.
   */
  snapshot(ctx: OpContext, disk: DiskImage, action: SnapshotAction, tag: string): Promise<void>;
  /** Looks for damage, and mends it where asked to. A format that has nothing to check (raw, vpc) has no damage. */
  check(ctx: OpContext, disk: DiskImage, options?: { readonly repair?: boolean }): Promise<CheckResult>;
  /** "sha256:…" of the file's bytes. */
  digest(ctx: OpContext, file: string): Promise<string>;
  /** A copy of anybody's file as one of ours, without blocks of zeros, sharing blocks where the file system can. `DISK_NOT_FOUND`, `DISK_EXISTS`. */
  take(ctx: OpContext, source: string, target: string): Promise<void>;
  /** What `source` yields as a file of ours, of at most `maxBytes`; blocks of zeros take no room. `DISK_TOO_LARGE`, `DISK_EXISTS`. */
  receive(ctx: OpContext, source: Readable, target: string, maxBytes: number): Promise<void>;
}
