/** Files that users name, brought into a machine's own directory. */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { VirtualDisks } from "../disks/virtual-disks.ts";
import { errnoOf } from "../host/errors.ts";
import { link } from "../host/files.ts";
import { machineRoomErrors } from "./errors.ts";

/**
 * Makes a user's ISO (or another file that is only read) one of the machine's: a hard link where QEMU, which is root without root's
 * powers, can read it and it is on the same file system; else a copy. It is there when the user's name for it is gone.
 */
export async function takeReadOnly(ctx: OpContext, disks: VirtualDisks, source: string, target: string): Promise<void> {
  try {
    await access(source, constants.R_OK);
    const { mode, uid } = await stat(source);
    const readable = (mode & 0o004) !== 0 || (uid === 0 && (mode & 0o400) !== 0);
    if (readable) return await link(source, target);
  } catch (error) {
    if (errnoOf(error) !== "EXDEV" && errnoOf(error) !== "EPERM" && errnoOf(error) !== "EMLINK") {
      throw machineRoomErrors.MEDIUM_UNREADABLE({ file: source, reason: messageOf(error) }, { cause: error });
    }
  }
  await disks.take(ctx, source, target);
}
