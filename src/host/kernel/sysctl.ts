import { writeFileSync } from "node:fs";
import type { LinkOp } from "../kernel-ops.ts";
import { inNetns } from "./netns.ts";
import { invalidArgument } from "../syscall-error.ts";

/** Keys have dots, as sysctl(8) has them, or slashes where a name itself has a dot ("net/ipv4/conf/eth0.5/forwarding"). */
export function sysctlPath(key: string): string {
  const path = key.includes("/") ? key : key.replaceAll(".", "/");
  if (path.split("/").some((part) => part === "" || part === "..")) {
    throw invalidArgument(`not a sysctl key: ${key}`);
  }
  return `/proc/sys/${path}`;
}

/** /proc/sys/net shows the network namespace of the thread that opens it. */
export function applySysctl(op: Extract<LinkOp, { op: "sysctl" }>): void {
  inNetns(op.netns, () => {
    try {
      writeFileSync(sysctlPath(op.key), op.value, { flag: "r+" });
    } catch (error) {
      const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!(missing && op.optional === true)) throw error;
    }
  });
}
