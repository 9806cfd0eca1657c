/**
 * Binds and volumes of a machine. The jail has each at `/berth/shares/<n>`, mounted as a container would have it (read-only there is
 * read-only for whatever comes out of the guest; of a file there is that file and no other); one virtiofsd in the jail serves that tree,
 * and the guest's agent mounts each place at its target. Such a machine boots: its memory is shared with virtiofsd, which has state of its
 * own, so that no template can have it (template-key.ts).
 */
import { statSync } from "node:fs";
import { errnoOf } from "../../host/errors.ts";
import type { PrepareRequest, ResolvedMount } from "../driver.ts";
import { machineErrors } from "./errors.ts";

export interface Share {
  /** Its place in the jail, and its name in the tree that the guest mounts. */
  readonly name: string;
  readonly mount: ResolvedMount;
}

/** In the jail: the root of virtiofsd. */
export const sharesRoot = "/berth/shares";

/** Files that the network room writes for an instance: a guest gets their content. */
const networkFiles: ReadonlySet<string> = new Set(["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"]);

/** The files of the instance's network, unless it has mounts of its own there. */
export function isNetworkFile({ spec }: Pick<PrepareRequest, "spec">, { type, target }: ResolvedMount): boolean {
  return type === "bind" && networkFiles.has(target) && !spec.mounts.some((mount) => mount.target === target);
}

/** In the order of the request, outermost first. */
export function sharesOf(request: Pick<PrepareRequest, "spec" | "mounts">): readonly Share[] {
  return request.mounts
    .filter((mount) => mount.type === "bind" && !isNetworkFile(request, mount))
    .map((mount, index) => ({ name: String(index), mount }));
}

/** What root in a container may do to files, and what virtiofsd shuts itself in with; berth-vmm and QEMU give it all up. */
export const shareCapabilities: readonly string[] = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "SETGID",
  "SETUID",
  "SETFCAP",
  "SYS_CHROOT",
  "SETPCAP",
];

/** unshare(CLONE_FS), which makes no namespace: each thread of virtiofsd has a working directory of its own. */
export const shareSyscalls: NonNullable<PrepareRequest["syscalls"]> = [
  { names: ["unshare"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: 0x200, op: "SCMP_CMP_EQ" }] },
];

/** `MACHINE_UNSUPPORTED` for a source whose name leads to the host's kernel, not to a file: in a guest it would lead to the guest's. */
export function requireFiles(shares: readonly Share[]): void {
  for (const { mount } of shares) {
    const found = statOf(mount.source);
    if (found === undefined || found.isDirectory() || found.isFile()) continue;
    const kind = found.isSocket() ? "socket" : found.isFIFO() ? "named pipe" : "device";
    const why = `its other end is not in the guest`;
    throw machineErrors.MACHINE_UNSUPPORTED({ what: `the ${kind} ${mount.source} of the host`, why });
  }
}

function statOf(path: string) {
  try {
    return statSync(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined; // The jail's start says so.
    throw error;
  }
}
