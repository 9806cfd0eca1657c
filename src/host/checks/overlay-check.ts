import { existsSync } from "node:fs";
import { lstat, mkdir, mkdtemp, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import type { CheckContext, Finding } from "../checks.ts";
import { error, nearestDirectory, ok } from "./finding.ts";

/** Mounts a small overlay where the data will be, writes to it and deletes through it. */
export async function checkOverlay(ctx: OpContext, { host, dataRoot }: CheckContext): Promise<Finding> {
  const where = nearestDirectory(dataRoot);
  const directory = await mkdtemp(join(where, ".berth-check-"));
  const [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
    string,
  ];
  try {
    for (const each of [lower, upper, work, merged]) await mkdir(each);
    await writeFile(join(lower, "deleted"), "");
    const data = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
    await host.kernel.apply(ctx, [{ op: "mount", source: "overlay", target: merged, fstype: "overlay", data }]);
    await writeFile(join(merged, "written"), "");
    await unlink(join(merged, "deleted"));
    const whiteout = await lstat(join(upper, "deleted"));
    if (!whiteout.isCharacterDevice() || !existsSync(join(upper, "written"))) {
      return error(`an overlay on ${where} does not keep its changes`, remedy);
    }
    return ok(`works on ${where}`);
  } catch (cause) {
    return error(messageOf(cause), remedy);
  } finally {
    await host.kernel.apply(cleanupContext(ctx), [{ op: "unmount", target: merged, detach: true }]);
    await rm(directory, { recursive: true, force: true });
  }
}

const remedy =
  "Load the module (modprobe overlay), and keep the data root on a local file system such as ext4, xfs (ftype=1) or btrfs: " +
  "an overlay can't stand on another overlay or on NFS";
