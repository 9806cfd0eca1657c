import { basename, join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { mkdir, writeFile } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";

/** An OCI runtime that is installed and can run containers here. */
export interface OciRuntime {
  /** "crun", "runc", or the base name of a configured path. */
  readonly name: string;
  readonly path: string;
  readonly version: string;
  /** `--root`: the runtime keeps the state of its containers in directories below, named by their ids. */
  readonly root: string;
  /** It has to be run where the list of v2 controllers is covered by an empty file. */
  readonly hidden?: { readonly nsenter: string; readonly empty: string };
}

/** How to call a runtime. Dispose it when the runtime has ended. */
export interface RuntimeCommand extends Disposable {
  readonly argv: readonly [string, ...string[]];
}

const controllersFile = "/sys/fs/cgroup/unified/cgroup.controllers";

/**
 * The command of a runtime with its state directory. Where it must not see the v2 controllers it is run in a private copy of
 * the mounts as they are now, by nsenter; the containers that it makes have mounts of their own in any case.
 */
export async function runtimeCommand(ctx: OpContext, host: Host, runtime: OciRuntime): Promise<RuntimeCommand> {
  const own = [programOf(host, runtime), `--root=${runtime.root}`] as const;
  if (runtime.hidden === undefined) return { argv: own, [Symbol.dispose]: () => {} };
  const { nsenter, empty } = runtime.hidden;
  const mounts = await host.kernel.privateMounts(ctx, [{ source: empty, target: controllersFile }]);
  return { argv: [nsenter, `--mount=${mounts.path}`, "--", ...own], [Symbol.dispose]: () => mounts[Symbol.dispose]() };
}

/** The same for the engine itself to spawn: `over` is for the spawn request. */
export function directCommand(host: Host, runtime: OciRuntime) {
  const { hidden } = runtime;
  return {
    argv: [programOf(host, runtime), `--root=${runtime.root}`],
    over: hidden === undefined ? [] : [{ source: hidden.empty, target: controllersFile }],
  } as const;
}

/**
 * crun copies itself and executes the copy each time, lest a container overwrite the program (CVE-2019-5736), unless it is such a copy
 * already: that saves half of its start. runc's copy would be twenty times as large, and its start no shorter.
 */
function programOf(host: Host, { name, path }: OciRuntime): string {
  return name === "crun" ? host.processes.sealed(path) : path;
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
 * container in half the time, else runc. See docs/adr/0003.
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
  if (runtime !== undefined) {
    await mkdir(runtime.root, { recursive: true, mode: 0o700 });
    if (runtime.hidden !== undefined) await writeFile(runtime.hidden.empty, "");
  }
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
    if (!needsHiddenControllers(host, name)) return { name, path, version, root };
    const nsenter = host.processes.which("nsenter");
    if (nsenter === undefined) return { reason: "crun needs nsenter where cgroup v1 and v2 are mixed" };
    return { name, path, version, root, hidden: { nsenter, empty: join(runRoot, "no-controllers") } };
  } catch (error) {
    return { reason: `${program} can't be run: ${messageOf(error)}` };
  }
}

/**
 * crun looks at the cgroup mounts before all else and refuses v1 beside v2 when v2 has controllers, used or not. It is content
 * where it finds no controllers, which is what it is shown: see {@link runtimeCommand}.
 */
function needsHiddenControllers(host: Host, name: string): boolean {
  return name === "crun" && host.cgroups.mode === "hybrid";
}

/** "1.1.5" out of the first line of `--version`. */
async function versionOf(ctx: OpContext, host: Host, path: string): Promise<string> {
  const { stdout } = await host.processes.run(ctx, { argv: [path, "--version"], timeoutMs: 5000 });
  return /\d+\.\d+(\.\d+)?[^\s,]*/.exec(stdout)?.[0] ?? "unknown";
}
