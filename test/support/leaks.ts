/** What an engine could leave on the host, found without touching anything of others. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Everything on this machine that carries the name of Berth: lines of text, sorted. Empty on a clean machine. */
export function berthTraces(): readonly string[] {
  return [...mounts(), ...links(), ...cgroups(), ...processes()].sort();
}

/** Traces of one engine, and whether its nftables table is there. */
export function tracesOf(engine: { readonly tag: string; readonly directory: string }): readonly string[] {
  const own = berthTraces().filter((trace) => trace.includes(engine.tag) || trace.includes(engine.directory));
  return hasTable(`berth_${engine.tag}`) ? [...own, `nftables table inet berth_${engine.tag}`] : own;
}

/** Waits a little for what the kernel takes away by itself (veths of dead namespaces), then throws with all that is left. */
export async function assertNothingLeft(engine: { readonly tag: string; readonly directory: string }): Promise<void> {
  let left: readonly string[] = [];
  for (let tries = 0; tries < 50; tries++) {
    left = tracesOf(engine);
    if (left.length === 0 && !existsSync(engine.directory)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`left behind:\n${[...left, ...(existsSync(engine.directory) ? [engine.directory] : [])].join("\n")}`);
}

function mounts(): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((target) => /berth/.test(target))
    .map((target) => `mount ${target}`);
}

function links(): readonly string[] {
  return readdirSync("/sys/class/net")
    .filter((name) => /^(brt[0-9a-f]{6}$|brt-|vb[0-9a-f]{10}$)/.test(name))
    .map((name) => `link ${name}`);
}

function cgroups(): readonly string[] {
  const roots = ["", ...directories("/sys/fs/cgroup")];
  return roots.flatMap((root) =>
    directories(join("/sys/fs/cgroup", root))
      .filter((name) => name.startsWith("berth-"))
      .map((name) => `cgroup ${join(root, name)}`),
  );
}

function directories(path: string): readonly string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((item) => item.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}

function processes(): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
        const name = command.split(" ")[0] ?? "";
        // The daemon itself, monitors and DNS servers name their directories; the tests' own runner does not count.
        const ours = /(conmon|dnsmasq|runc|crun)$/.test(name) ? /berth/.test(command) : / daemon .*berth/.test(command);
        // A machine's processes have no name of the engine's, in a jail where they see none: their control group has.
        const group = /(berth-vmm|\/berth\/vmm|qemu-system-\w+|virtiofsd)$/.test(name) ? berthGroup(pid) : "";
        if (group !== "") return [`process ${pid} ${name} in ${group}`];
        return ours ? [`process ${pid} ${command.slice(0, 200)}`] : [];
      } catch {
        return []; // It ended meanwhile.
      }
    });
}

/** The control group below one of Berth's that a process is in; "" for none. */
function berthGroup(pid: string): string {
  return /\/berth-[0-9a-f]{6}\/\S*/.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[0] ?? "";
}

function hasTable(name: string): boolean {
  try {
    execFileSync("nft", ["list", "table", "inet", name], {
      stdio: "ignore",
      env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
    });
    return true;
  } catch {
    return false;
  }
}
