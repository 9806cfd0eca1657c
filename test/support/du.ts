import { execFileSync } from "node:child_process";

/** What du(1) says of `path`, in bytes on the disk, without what is mounted inside. 0 where there is nothing. */
export function du(path: string): number {
  try {
    const out = execFileSync("du", ["-s", "-x", "--block-size=1", path], { stdio: ["ignore", "pipe", "ignore"] });
    return Number(out.toString("utf8").split("\t")[0]);
  } catch {
    return 0;
  }
}
