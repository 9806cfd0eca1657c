import { statfs } from "node:fs/promises";
import { snapshotErrors } from "./errors.ts";

/** File systems that overlayfs refuses as an upper one, by their number in statfs(2). */
const UNFIT = new Map([
  [0x794c7630, "another overlayfs (a container's root?)"],
  [0x6969, "NFS"],
  [0x65735546, "a FUSE file system"],
  [0x4d44, "FAT"],
  [0x01021997, "9p"],
  [0xff534d42, "SMB"],
]);

/** `SNAPSHOT_ROOT_UNUSABLE` when containers could never be mounted under `root`, so that it is said at start. */
export async function checkFileSystem(root: string): Promise<void> {
  const kind = UNFIT.get((await statfs(root)).type);
  if (kind !== undefined) throw snapshotErrors.SNAPSHOT_ROOT_UNUSABLE({ root, reason: `it is on ${kind}` });
}
