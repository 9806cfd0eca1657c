import { defineErrors } from "../base/errors.ts";

export const contentErrors = defineErrors({
  BLOB_NOT_FOUND: {
    status: 404,
    message: (p: { digest: string }) => `blob ${p.digest} is not in the content store`,
    hint: () => "Pull or load the image again.",
  },
  BLOB_DIGEST_INVALID: {
    status: 400,
    message: (p: { digest: string }) => `invalid digest "${p.digest}": expected sha256: and 64 lower-case hex digits`,
  },
  BLOB_DIGEST_MISMATCH: {
    status: 400,
    message: (p: { subject: string; expected: string; actual: string }) =>
      `${p.subject}: content has digest ${p.actual}, not the expected ${p.expected}`,
    hint: () => "The source served other bytes than it announced; nothing was kept. Try again, or another source.",
  },
  BLOB_SIZE_MISMATCH: {
    status: 400,
    message: (p: { subject: string; expected: number; actual: number }) =>
      `${p.subject}: content has ${p.actual} bytes, not the expected ${p.expected}`,
    hint: () => "The transfer was cut or the source is broken; nothing was kept. Try again.",
  },
  BLOB_TOO_LARGE: {
    status: 400,
    message: (p: { digest: string; size: number; limit: number }) =>
      `blob ${p.digest} has ${p.size} bytes, more than the ${p.limit} that a document may have`,
  },
  BLOB_CORRUPT: {
    status: 500,
    message: (p: { digest: string; actual: string }) =>
      `blob ${p.digest} is damaged on disk: its content has digest ${p.actual}`,
    hint: () => "Remove the image and pull or load it again; check the disk.",
  },
  CONTENT_DISK_FULL: {
    status: 507,
    message: (p: { path: string }) => `cannot store content under ${p.path}: no space left on device`,
    hint: () => "Free space, e.g. by removing unused images, and try again; nothing was kept.",
  },
  BLOB_WRITER_CLOSED: {
    status: 500,
    message: (p: { ref: string }) => `the writer of "${p.ref}" is closed`,
  },
});
