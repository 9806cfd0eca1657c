import { defineErrors } from "../base/errors.ts";

export const snapshotErrors = defineErrors({
  LAYER_NOT_FOUND: {
    status: 404,
    message: (p: { chainId: string }) => `layer ${p.chainId} is not unpacked here`,
    hint: () => "Pull or load the image again.",
  },
  LAYER_IN_USE: {
    status: 409,
    message: (p: { chainId: string; user: string }) => `layer ${p.chainId} is in use by ${p.user}`,
  },
  LAYER_DIGEST_MISMATCH: {
    status: 400,
    message: (p: { expected: string; actual: string }) =>
      `layer unpacks to digest ${p.actual}, not to the ${p.expected} that its image states`,
    hint: () => "The image is broken or was tampered with; nothing of the layer was kept.",
  },
  LAYER_STACK_TOO_DEEP: {
    status: 400,
    // Docker's own words.
    message: (p: { depth: number; limit: number }) => `max depth exceeded: ${p.depth} layers, at most ${p.limit}`,
    hint: () => "Merge instructions of the Dockerfile, or start from a base image with fewer layers.",
  },
  SNAPSHOT_NOT_FOUND: {
    status: 404,
    message: (p: { id: string }) => `no such snapshot: ${p.id}`,
  },
  SNAPSHOT_EXISTS: {
    status: 409,
    message: (p: { id: string }) => `snapshot ${p.id} exists already`,
  },
  SNAPSHOT_ID_INVALID: {
    status: 400,
    message: (p: { id: string }) => `invalid snapshot id "${p.id}": expected letters, digits, "_", "." and "-"`,
  },
  SNAPSHOT_READ_ONLY: {
    status: 500,
    message: (p: { target: string }) => `overlayfs mounts ${p.target} read-only: it cannot make its work directory`,
    hint: () => "The kernel's log (dmesg) has the reason; a full disk is the usual one.",
  },
  SNAPSHOT_ROOT_UNUSABLE: {
    status: 500,
    message: (p: { root: string; reason: string }) => `cannot keep layers under ${p.root}: ${p.reason}`,
    hint: () => "Choose a data root on a local file system such as ext4, xfs or btrfs.",
  },
});
