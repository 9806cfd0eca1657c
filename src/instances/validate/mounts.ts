import { stat } from "node:fs/promises";
import { posix } from "node:path";
import type { MountSpec } from "../../schema/instance.ts";
import { instanceErrors } from "../errors.ts";
import { invalid } from "./invalid.ts";

/** Checks targets, sources that must exist, and options; and that no two mounts have the same target. */
export async function validateMounts(mounts: readonly MountSpec[]): Promise<void> {
  const seen = new Set<string>();
  for (const mount of mounts) {
    const target = normaliseTarget(mount.type, mount.target);
    if (seen.has(target)) throw invalid(`Duplicate mount point: ${target}`);
    seen.add(target);
    await validateMount(mount);
  }
}

/** Absolute, without "..", not the root itself. */
export function normaliseTarget(type: MountSpec["type"], target: string): string {
  const reject = (reason: string) => invalid(`invalid mount config for type "${type}": ${reason}`);
  if (target === "") throw reject("field Target must not be empty");
  if (!target.startsWith("/")) throw reject(`invalid mount path: '${target}' mount path must be absolute`);
  if (target.includes("\0")) throw reject("the mount path holds a NUL byte");
  const normal = posix.normalize(target).replace(/(.)\/$/, "$1");
  if (normal === "/") throw reject("invalid specification: destination can't be '/'");
  return normal;
}

async function validateMount(mount: MountSpec): Promise<void> {
  switch (mount.type) {
    case "bind":
      return await validateBind(mount.source, mount.createSource);
    case "volume":
      return validateVolume(mount.name, mount.subpath ?? "");
    case "tmpfs":
      for (const option of mount.options) validateTmpfsOption(option);
      return;
  }
}

async function validateBind(source: string, createSource: boolean): Promise<void> {
  if (source === "") throw invalid('invalid mount config for type "bind": field Source must not be empty');
  if (!source.startsWith("/")) {
    throw invalid(`invalid mount config for type "bind": invalid mount path: '${source}' mount path must be absolute`);
  }
  if (createSource) return;
  const found = await stat(source).catch(() => undefined);
  if (found === undefined) throw instanceErrors.BIND_SOURCE_MISSING({ path: source });
}

function validateVolume(name: string, subpath: string): void {
  if (subpath === "") return;
  const reject = (reason: string) => invalid(`invalid mount config for type "volume": ${reason}`);
  if (name === "") throw reject("must not set Subpath when using anonymous volumes");
  const normal = posix.normalize(subpath);
  if (normal.startsWith("/") || normal === ".." || normal.startsWith("../")) {
    throw reject("subpath must be a relative path within the volume");
  }
}

const tmpfsWords = new Set(
  [
    "exec noexec suid nosuid dev nodev ro rw sync async dirsync mand nomand atime noatime diratime nodiratime",
    "relatime norelatime strictatime nostrictatime bind rbind unbindable runbindable private rprivate shared rshared",
    "slave rslave defaults remount",
  ].flatMap((line) => line.split(" ")),
);

const tmpfsValues: Readonly<Record<string, RegExp>> = {
  size: /^\d+[kKmMgG]?%?$/,
  mode: /^[0-7]{1,5}$/,
  uid: /^\d+$/,
  gid: /^\d+$/,
  nr_inodes: /^\d+[kKmMgG]?$/,
  nr_blocks: /^\d+[kKmMgG]?$/,
  mpol: /^[\w:=,-]+$/,
};

function validateTmpfsOption(option: string): void {
  const [name = "", value] = option.split(/=(.*)/s, 2);
  if (value === undefined ? tmpfsWords.has(name) : tmpfsValues[name]?.test(value) === true) return;
  throw invalid(`Invalid tmpfs option "${option}"`);
}
