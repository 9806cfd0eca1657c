/**
 * The door to the file system for what changes it, outside of archives: node:fs's own functions with a failpoint in front of each.
 * Rooms above import these from here; `.oxlintrc.json` refuses node:fs's.
 */
import * as sync from "node:fs";
import * as fs from "node:fs/promises";
import { constants } from "node:os";
import type { FailpointName } from "./failpoint-catalogue.ts";
import { failpoints } from "./failpoints.ts";
import { SyscallError } from "./syscall-error.ts";

export async function rename(from: string, to: string): Promise<void> {
  if (failpoints.on) await failpoints.before("file.rename", `${from} -> ${to}`, failureOf("rename"));
  await fs.rename(from, to);
}

export async function writeFile(path: string, data: string | Uint8Array, options: WriteOptions = {}): Promise<void> {
  if (failpoints.on) await failpoints.before("file.write", path, failureOf("write"));
  await fs.writeFile(path, data, options);
}

export async function copyFile(from: string, to: string): Promise<void> {
  if (failpoints.on) await failpoints.before("file.copy", to, failureOf("copyfile"));
  await fs.copyFile(from, to);
}

/** A second name for a file of the same file system. */
export async function link(file: string, name: string): Promise<void> {
  if (failpoints.on) await failpoints.before("file.write", name, failureOf("link"));
  await fs.link(file, name);
}

export async function mkdir(path: string, options: sync.MakeDirectoryOptions = {}): Promise<void> {
  if (failpoints.on) await failpoints.before("directory.make", path, failureOf("mkdir"));
  await fs.mkdir(path, options);
}

/** `recursive`: a directory with everything in it. `force`: missing is no error. */
export async function rm(path: string, options: sync.RmOptions): Promise<void> {
  if (failpoints.on) await failpoints.before(removalOf(options), path, failureOf("rm"));
  await fs.rm(path, options);
}

export async function rmdir(path: string): Promise<void> {
  if (failpoints.on) await failpoints.before("directory.remove", path, failureOf("rmdir"));
  await fs.rmdir(path);
}

export async function unlink(path: string): Promise<void> {
  if (failpoints.on) await failpoints.before("file.remove", path, failureOf("unlink"));
  await fs.unlink(path);
}

export async function chmod(path: string, mode: number): Promise<void> {
  if (failpoints.on) await failpoints.before("file.attributes", path, failureOf("chmod"));
  await fs.chmod(path, mode);
}

export async function chown(path: string, uid: number, gid: number): Promise<void> {
  if (failpoints.on) await failpoints.before("file.attributes", path, failureOf("chown"));
  await fs.chown(path, uid, gid);
}

/*
 * The same for small files of the run root, which is in memory: done at once, on the calling thread. Writing one takes some ten
 * microseconds; each of the four trips to the thread pool that it would be takes longer, and much longer on a busy machine.
 */

export async function writeSmallFile(path: string, data: string, options: WriteOptions = {}): Promise<void> {
  if (failpoints.on) await failpoints.before("file.write", path, failureOf("write"));
  sync.writeFileSync(path, data, options);
}

export async function makeSmallDirectory(path: string, mode: number): Promise<void> {
  if (failpoints.on) await failpoints.before("directory.make", path, failureOf("mkdir"));
  sync.mkdirSync(path, { recursive: true, mode });
}

/** With the few files in it. Missing is no error. */
export async function removeSmallDirectory(path: string): Promise<void> {
  if (failpoints.on) await failpoints.before("directory.remove", path, failureOf("rm"));
  sync.rmSync(path, { recursive: true, force: true });
}

export function writeFileSync(path: string, data: string, options: sync.WriteFileOptions = {}): void {
  if (failpoints.on) failpoints.beforeSync("file.write", path, failureOf("write"));
  sync.writeFileSync(path, data, options);
}

export function mkdirSync(path: string, options: sync.MakeDirectoryOptions = {}): void {
  if (failpoints.on) failpoints.beforeSync("directory.make", path, failureOf("mkdir"));
  sync.mkdirSync(path, options);
}

export function rmSync(path: string, options: sync.RmOptions): void {
  if (failpoints.on) failpoints.beforeSync(removalOf(options), path, failureOf("rm"));
  sync.rmSync(path, options);
}

export function rmdirSync(path: string): void {
  if (failpoints.on) failpoints.beforeSync("directory.remove", path, failureOf("rmdir"));
  sync.rmdirSync(path);
}

export function symlinkSync(target: string, path: string): void {
  if (failpoints.on) failpoints.beforeSync("file.write", path, failureOf("symlink"));
  sync.symlinkSync(target, path);
}

interface WriteOptions {
  readonly mode?: number;
  readonly flag?: string;
  /** Synced before it is closed. */
  readonly flush?: boolean;
}

function removalOf({ recursive }: sync.RmOptions): FailpointName {
  return recursive === true ? "directory.remove" : "file.remove";
}

/** What a disk with a bad sector would say. */
function failureOf(call: string): () => Error {
  return () => new SyscallError(call, constants.errno.EIO);
}
