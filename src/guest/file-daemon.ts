/**
 * The daemon that serves files of the host to a guest (virtiofsd). There are two programs of that name: the one that came with QEMU up to
 * 7.2, in C, and its successor in Rust.
 */
import { existsSync } from "node:fs";
import type { OpContext } from "../base/op-context.ts";
import type { Host } from "../host/host.ts";

export interface FileDaemon {
  /** On the host, below /usr: the jails of machines have nothing else of it. */
  readonly program: string;
  readonly kind: "c" | "rust";
}

/** Where distributions put it, off the search path: it is not for users to start. */
const places = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd"];
const askMs = 10_000;

/** Path of the installed one; undefined when there is none. */
export function fileDaemonProgram(
  { processes }: Pick<Host, "processes">,
  exists: (path: string) => boolean = existsSync,
): string | undefined {
  const found = processes.which("virtiofsd");
  return found?.startsWith("/usr/") === true ? found : places.find(exists);
}

/** Which of the two it is: it is asked for its version, where the older one names the project that it is of. */
export async function askFileDaemon(
  ctx: OpContext,
  { processes }: Pick<Host, "processes">,
  program: string,
): Promise<FileDaemon> {
  const { stdout, stderr } = await processes.run(ctx, { argv: [program, "--version"], timeoutMs: askMs });
  return { program, kind: /\bQEMU\b/.test(stdout + stderr) ? "c" : "rust" };
}

/**
 * Its command line for the tree `directory`, which becomes its root. The guest keeps names and attributes for 50 ms (a second by the
 * successor, which can't be told): long enough to walk through a tree at ten times the speed, short enough that what the host changes is
 * seen as if at once. It keeps data for as long as these have not changed, and can map it. Locks are the guest's kernel's: those of the
 * host would not wait.
 */
export function fileDaemonWords({ program, kind }: FileDaemon, directory: string): readonly string[] {
  switch (kind) {
    case "c": {
      const options = ["sandbox=chroot", "cache=auto", "timeout=0.05", "xattr", "announce_submounts", "modcaps=-mknod"];
      return [program, "-f", "-o", [`source=${directory}`, ...options].join(","), "--rlimit-nofile=0"];
    }
    case "rust":
      return [
        program,
        `--shared-dir=${directory}`,
        "--sandbox=chroot",
        "--cache=auto",
        "--xattr",
        "--announce-submounts",
        "--modcaps=-mknod",
        "--rlimit-nofile=0",
      ];
  }
}
