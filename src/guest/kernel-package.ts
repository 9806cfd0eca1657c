/** Debian's cloud kernel: its package, fetched with the host's apt and unpacked beside it, never installed. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { Host, RunResult } from "../host/host.ts";
import { guestErrors } from "./errors.ts";

type Tools = Pick<Host, "processes" | "facts">;

/** A package that depends on the newest cloud kernel; it is empty itself. */
const metaPackages: Readonly<Record<string, string>> = {
  amd64: "linux-image-cloud-amd64",
  arm64: "linux-image-cloud-arm64",
};

const downloadMs = 300_000;

export interface UnpackedKernel {
  /** boot/vmlinuz-VERSION. */
  readonly image: string;
  /** lib/modules/VERSION. */
  readonly modules: string;
  /** "6.1.0-56-cloud-amd64". */
  readonly version: string;
}

/**
 * The kernel's package, in `directory` (which exists): downloaded, checked by apt against the archive's signatures. `GUEST_FETCH_FAILED`
 * has apt's own words.
 */
export async function downloadKernelPackage(
  ctx: OpContext,
  tools: Tools,
  directory: string,
  progress: ProgressSink,
): Promise<string> {
  const meta = metaPackages[tools.facts.architecture];
  if (meta === undefined)
    throw guestErrors.KERNEL_UNUSABLE({ reason: `Debian has no cloud kernel for ${tools.facts.architecture}` });
  const name = await currentKernelOf(ctx, tools, meta);
  progress({ id: "guest", status: `Downloading ${name}` });
  // As root, apt's own user could not write to our directory, and apt warns.
  const argv = [tool(tools, "apt-get"), "-o", "APT::Sandbox::User=root", "-qq", "download", name] as const;
  const result = await tools.processes.run(ctx, { argv, cwd: directory, timeoutMs: downloadMs });
  const file = (await readdir(directory)).find((file) => file.endsWith(".deb"));
  if (result.code !== 0 || file === undefined)
    throw guestErrors.GUEST_FETCH_FAILED({ package: name, reason: reasonOf(result) });
  return join(directory, file);
}

/** Unpacks the package into `directory`, and says where what is. */
export async function unpackKernelPackage(
  ctx: OpContext,
  tools: Tools,
  file: string,
  directory: string,
): Promise<UnpackedKernel> {
  const result = await tools.processes.run(ctx, {
    argv: [tool(tools, "dpkg-deb"), "-x", file, directory],
    timeoutMs: 120_000,
  });
  if (result.code !== 0)
    throw guestErrors.KERNEL_UNUSABLE({ reason: `${file} can't be unpacked: ${reasonOf(result)}` });
  // With a merged /usr (Debian 13), the modules are below usr/.
  for (const lib of ["lib/modules", "usr/lib/modules"]) {
    const [version] = await namesIn(join(directory, lib));
    if (version === undefined) continue;
    return { version, modules: join(directory, lib, version), image: join(directory, "boot", `vmlinuz-${version}`) };
  }
  throw guestErrors.KERNEL_UNUSABLE({ reason: `${file} holds no kernel modules` });
}

/** The real package behind the one that follows the newest. */
async function currentKernelOf(ctx: OpContext, tools: Tools, meta: string): Promise<string> {
  const result = await tools.processes.run(ctx, { argv: [tool(tools, "apt-cache"), "depends", "--important", meta] });
  const name = /^\s*Depends:\s*(linux-image-\S+)$/m.exec(result.stdout)?.[1];
  if (name !== undefined) return name;
  const reason = result.code === 0 ? `apt knows no kernel that ${meta} stands for` : reasonOf(result);
  throw guestErrors.GUEST_FETCH_FAILED({ package: meta, reason });
}

function tool({ processes }: Tools, program: string): string {
  const path = processes.which(program);
  if (path === undefined) throw guestErrors.GUEST_TOOL_MISSING({ program });
  return path;
}

/** The last line with an error of a tool, without its "E: ". */
function reasonOf({ stderr, code }: RunResult): string {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("W:"));
  return lines.at(-1)?.replace(/^E:\s*/, "") ?? `exit code ${code}`;
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
