import { sizeText } from "../base/byte-size.ts";
import { defineErrors } from "../base/errors.ts";

/** What can go wrong with the files that are machines' disks. `file` is a name that the user knows it by. */
export const diskErrors = defineErrors({
  DISK_NOT_FOUND: {
    status: 404,
    message: (p: { file: string }) => `there is no disk file ${p.file}`,
  },
  DISK_UNREADABLE: {
    status: 403,
    message: (p: { file: string; reason: string }) => `the disk file ${p.file} can't be opened: ${p.reason}`,
    hint: () => "let others read it (chmod o+r), or copy it to where it can be changed",
  },
  DISK_EXISTS: {
    status: 409,
    message: (p: { file: string }) => `the disk file ${p.file} is there already`,
  },
  DISK_FORMAT_UNSUPPORTED: {
    status: 400,
    message: (p: { file: string; reason: string }) => `${p.file} is no disk image that can be used: ${p.reason}`,
    hint: () => "give a qcow2, raw, vmdk (one file), vdi, vhdx or vhd (vpc) image",
  },
  DISK_BACKING_REFUSED: {
    status: 400,
    message: (p: { file: string; backing: string }) =>
      `the disk image ${p.file} is refused: its contents are partly in another file, ${JSON.stringify(p.backing)}`,
    hint: () => "make it whole where that file is: qemu-img convert -O qcow2 IMAGE WHOLE.qcow2",
  },
  DISK_ENCRYPTED: {
    status: 400,
    message: (p: { file: string }) => `the disk image ${p.file} is refused: it is encrypted`,
    hint: () => "decrypt it first: qemu-img convert with its secret",
  },
  DISK_CORRUPT: {
    status: 400,
    message: (p: { file: string; reason: string }) => `the disk image ${p.file} is damaged: ${p.reason}`,
    hint: () => "copy it anew, or look at what is left of it with qemu-img check",
  },
  DISK_TOO_LARGE: {
    status: 400,
    message: (p: { file: string; bytes: number; max: number }) =>
      `the disk ${p.file} has ${sizeText(p.bytes)}, more than the ${sizeText(p.max)} that one may have here`,
  },
  DISK_NO_SPACE: {
    status: 507,
    message: (p: { file: string; needed: number; free: number }) =>
      `the disk ${p.file} takes ${sizeText(p.needed)}, and ${sizeText(p.free)} are free`,
    hint: () => "make room on the data root's file system",
  },
  DISK_SHRINK_REFUSED: {
    status: 400,
    message: (p: { file: string; bytes: number; wanted: number }) =>
      `the disk ${p.file} has ${sizeText(p.bytes)} and is not made smaller (${sizeText(p.wanted)}): what lies behind would be lost`,
    hint: () => "make a smaller disk and copy the files inside the machine",
  },
  DISK_SIZE_INVALID: {
    status: 400,
    message: (p: { bytes: number }) =>
      `${p.bytes} bytes are no size of a disk: it has a multiple of 512 bytes, at least 512`,
  },
  DISK_IN_USE: {
    status: 409,
    message: (p: { file: string }) => `the disk ${p.file} is in use`,
    hint: () => "stop the machine that uses it first",
  },
  DISK_SNAPSHOT_MISSING: {
    status: 409,
    message: (p: { file: string; tag: string }) => `the disk ${p.file} has no snapshot ${p.tag}`,
  },
  CLOUD_INIT_INVALID: {
    status: 400,
    message: (p: { reason: string }) => `the user-data can't be used: ${p.reason}`,
  },
  DISK_TOOL_MISSING: {
    status: 503,
    message: (p: { program: string }) => `${p.program} is not installed, which machines' disks need`,
    hint: (p) => `run 'npm run setup', or: apt-get install ${p.program === "qemu-img" ? "qemu-utils" : "util-linux"}`,
  },
  DISK_TOOL_FAILED: {
    status: 500,
    message: (p: { file: string; verb: string; reason: string }) => `cannot ${p.verb} the disk ${p.file}: ${p.reason}`,
  },
  DISK_TOOL_TIMEOUT: {
    status: 504,
    message: (p: { file: string; verb: string; seconds: number }) =>
      `cannot ${p.verb} the disk ${p.file}: not done within ${p.seconds} s`,
  },
});
