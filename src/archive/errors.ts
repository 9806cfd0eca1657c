import { defineErrors } from "../base/errors.ts";

export const archiveErrors = defineErrors({
  ARCHIVE_ENTRY_REFUSED: {
    status: 400,
    message: (p: { entry: string; reason: string }) => `archive entry "${p.entry}" refused: ${p.reason}`,
    hint: () => "The archive is broken or hostile; nothing of it was kept.",
  },
  ARCHIVE_TRUNCATED: {
    status: 400,
    message: (p: { entry: string; where: string }) =>
      p.entry === "" ? `archive ends in ${p.where}` : `archive ends in ${p.where} of entry "${p.entry}"`,
    hint: () => "The transfer was cut; try again.",
  },
  ARCHIVE_TOO_LARGE: {
    status: 400,
    message: (p: { entry: string; what: string; limit: number }) =>
      `archive entry "${p.entry}" goes beyond the limit of ${p.limit} ${p.what}`,
    hint: () => "This may be a decompression bomb. If it is not, free space or raise the limit.",
  },
  ARCHIVE_CORRUPT: {
    status: 400,
    message: (p: { entry: string; reason: string }) =>
      p.entry === "" ? `archive is not a valid tar: ${p.reason}` : `archive is corrupt at "${p.entry}": ${p.reason}`,
  },
  ARCHIVE_COMPRESSION_UNSUPPORTED: {
    status: 400,
    message: (p: { compression: string; program: string }) =>
      `archive is compressed with ${p.compression}, and the program "${p.program}" is not there`,
    hint: (p: { compression: string; program: string }) => `Install ${p.program}, or compress with gzip or zstd.`,
  },
  ARCHIVE_WRITE_FAILED: {
    status: 500,
    message: (p: { entry: string; reason: string }) => `cannot unpack "${p.entry}": ${p.reason}`,
  },
  ARCHIVE_DISK_FULL: {
    status: 507,
    message: (p: { entry: string }) => `cannot unpack "${p.entry}": no space left on device`,
    hint: () => "Free space, e.g. by removing unused images, and try again; nothing was kept.",
  },
  PATH_NOT_FOUND: {
    status: 404,
    message: (p: { path: string }) => `no such file or directory: ${p.path}`,
  },
  PATH_NOT_DIRECTORY: {
    status: 400,
    message: (p: { path: string }) => `not a directory: ${p.path}`,
  },
  PATH_NOT_FILE: {
    status: 400,
    message: (p: { path: string }) => `not a regular file: ${p.path}`,
  },
  PATH_TOO_MANY_LINKS: {
    status: 400,
    message: (p: { path: string }) => `too many levels of symbolic links: ${p.path}`,
  },
  FILE_TOO_LARGE: {
    status: 400,
    message: (p: { path: string; size: number; limit: number }) =>
      `${p.path} has ${p.size} bytes, more than the ${p.limit} allowed here`,
  },
  PATH_OPERATION_FAILED: {
    status: 500,
    message: (p: { path: string; reason: string }) => `${p.path}: ${p.reason}`,
  },
  ARCHIVE_WORKER_LOST: {
    status: 500,
    message: (p: { root: string; reason: string }) => `the archive worker for ${p.root} ended: ${p.reason}`,
    hint: () => "Try the operation again; the next one gets a new worker.",
  },
  CONFINEMENT_FAILED: {
    status: 500,
    message: (p: { root: string; reason: string }) => `cannot confine a worker to ${p.root}: ${p.reason}`,
    hint: () => "The engine needs root with CAP_SYS_CHROOT, and the directory must exist.",
  },
});
