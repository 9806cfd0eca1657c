import { readFile, statfs } from "node:fs/promises";
import type { OpContext } from "../../base/op-context.ts";
import type { CheckContext, Finding } from "../checks.ts";
import { error, nearestDirectory, ok, warning } from "./finding.ts";

/** Limits of the whole machine that containers share, with what is too small for a handful of them. */
const limits = [
  { key: "fs.inotify.max_user_instances", least: 256 },
  { key: "fs.inotify.max_user_watches", least: 8192 },
  { key: "kernel.pid_max", least: 32_768 },
  { key: "kernel.threads-max", least: 16_384 },
] as const;

export async function checkLimits(): Promise<Finding> {
  const values: { readonly key: string; readonly value: number; readonly least: number }[] = [];
  for (const { key, least } of limits) {
    const value = Number(await readFile(`/proc/sys/${key.replaceAll(".", "/")}`, "utf8"));
    values.push({ key, value, least });
  }
  const low = values.filter(({ value, least }) => value < least);
  const detail = (low.length > 0 ? low : values).map(({ key, value }) => `${key}=${value}`).join(", ");
  if (low.length === 0) return ok(detail);
  const settings = low.map(({ key, least }) => `${key}=${least * 4}`).join(" ");
  return warning(`low: ${detail}`, `Many containers may need more: sysctl -w ${settings}`);
}

const GiB = 1024 ** 3;

export async function checkSpace(_ctx: OpContext, { dataRoot }: CheckContext): Promise<Finding> {
  const where = nearestDirectory(dataRoot);
  const { bavail, bsize, blocks, files, ffree } = await statfs(where);
  const free = bavail * bsize;
  const detail = `${(free / GiB).toFixed(1)} GiB of ${((blocks * bsize) / GiB).toFixed(1)} GiB free on ${where}`;
  const remedy = "Free some space, or choose another --data-root";
  if (free < GiB) return error(detail, remedy);
  // File systems without a fixed number of inodes say 0.
  if (files > 0 && ffree < 10_000) return error(`only ${ffree} inodes free on ${where}`, remedy);
  return free < 5 * GiB ? warning(detail, remedy) : ok(detail);
}
