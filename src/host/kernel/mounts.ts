import { readFileSync } from "node:fs";
import type { MountEntry } from "../host.ts";
import type { MountFlag, MountOp } from "../kernel-ops.ts";
import { bind, checked } from "../libc.ts";
import { SyscallError } from "../syscall-error.ts";
import { parseMountinfo } from "./mountinfo.ts";

const mount = bind<
  (source: string, target: string, fstype: string | null, flags: number, data: string | null) => number
>("int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const char *data)");
const umount2 = bind<(target: string, flags: number) => number>("int umount2(const char *target, int flags)");
const mountSetattr = bind<
  (call: number, dirfd: number, path: string, flags: number, attr: Buffer, size: number) => number
>("long syscall(long call, int dirfd, const char *path, unsigned int flags, void *attr, size_t size)");

const MS_REMOUNT = 0x20;
const MS_BIND = 0x1000;
const MS_REC = 0x4000;
const attributes: Partial<Record<MountFlag, { readonly mount: number; readonly setattr: number }>> = {
  ro: { mount: 0x1, setattr: 0x1 },
  nosuid: { mount: 0x2, setattr: 0x2 },
  nodev: { mount: 0x4, setattr: 0x4 },
  noexec: { mount: 0x8, setattr: 0x8 },
};
const MS_PRIVATE = 1 << 18;
const MS_SLAVE = 1 << 19;
const MS_SHARED = 1 << 20;
const propagations: Partial<Record<MountFlag, number>> = {
  private: MS_PRIVATE,
  rprivate: MS_PRIVATE | MS_REC,
  slave: MS_SLAVE,
  rslave: MS_SLAVE | MS_REC,
  shared: MS_SHARED,
  rshared: MS_SHARED | MS_REC,
};
const MNT_DETACH = 2;
const AT_FDCWD = -100;
const AT_RECURSIVE = 0x8000;
const SYS_MOUNT_SETATTR = 442;

/**
 * Mounts in up to three system calls, since mount(2) takes a bind's attributes and a propagation only on their own.
 * When a later one fails the mount is undone. A remount of an existing mount keeps it.
 */
export function applyMount(op: Extract<MountOp, { op: "mount" }>): void {
  const flags = op.flags ?? [];
  const isBind = flags.includes("bind");
  const recursive = flags.includes("rec");
  const remount = flags.includes("remount");
  const bindOnly = isBind && !remount;
  const attributeBits = sum(flags, (flag) => (bindOnly ? attributes[flag]?.setattr : attributes[flag]?.mount));
  const propagation = sum(flags, (flag) => propagations[flag]);

  // Only a propagation on an existing mount, e.g. { flags: ["rprivate"] }.
  const onlyPropagation = propagation !== 0 && !isBind && !remount && (op.fstype ?? "") === "";
  if (!onlyPropagation) {
    const base = (isBind ? MS_BIND : 0) | (recursive ? MS_REC : 0) | (remount ? MS_REMOUNT : 0);
    const bits = base | (bindOnly ? 0 : attributeBits);
    checked("mount", mount(op.source, op.target, op.fstype ?? null, bits, op.data ?? null));
  }
  try {
    if (bindOnly && attributeBits !== 0) setAttributes(op.target, attributeBits, recursive);
    if (propagation !== 0) checked("mount propagation", mount("none", op.target, null, propagation, null));
  } catch (error) {
    if (!onlyPropagation && !remount) umount2(op.target, MNT_DETACH);
    throw error;
  }
}

/** Unmounts the topmost mount on the target, if there is one. */
export function applyUnmount(op: Extract<MountOp, { op: "unmount" }>): void {
  try {
    checked("umount2", umount2(op.target, op.detach === true ? MNT_DETACH : 0));
  } catch (error) {
    // EINVAL: not a mount point.
    if (error instanceof SyscallError && (error.code === "EINVAL" || error.code === "ENOENT")) return;
    throw error;
  }
}

/** Mounts of this thread's namespace at `prefix` or below. */
export function listMounts(prefix: string): readonly MountEntry[] {
  return parseMountinfo(readFileSync("/proc/thread-self/mountinfo", "utf8"), prefix);
}

/** mount_setattr(2) adds attributes and keeps those that the mount has; a bind remount would clear them. */
function setAttributes(target: string, bits: number, recursive: boolean): void {
  const attr = Buffer.alloc(32);
  attr.writeBigUInt64LE(BigInt(bits), 0);
  const flags = recursive ? AT_RECURSIVE : 0;
  checked("mount_setattr", mountSetattr(SYS_MOUNT_SETATTR, AT_FDCWD, target, flags, attr, attr.length));
}

function sum(flags: readonly MountFlag[], bitsOf: (flag: MountFlag) => number | undefined): number {
  let bits = 0;
  for (const flag of flags) bits |= bitsOf(flag) ?? 0;
  return bits;
}
