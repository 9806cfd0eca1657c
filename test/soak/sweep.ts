/** Takes away what an engine has left on the host, when the engine itself can't any more. Only what carries its name. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface SweptEngine {
  readonly tag: string;
  readonly directory: string;
  readonly dataRoot: string;
}

export async function sweep({ tag, directory, dataRoot }: SweptEngine): Promise<void> {
  const groups = readdirSync("/sys/fs/cgroup", { withFileTypes: true })
    .filter((item) => item.isDirectory())
    .flatMap(({ name }) => groupsBelow(join("/sys/fs/cgroup", name, `berth-${tag}`)))
    .concat(groupsBelow(`/sys/fs/cgroup/berth-${tag}`));
  for (let tries = 0; tries < 20; tries++) {
    for (const group of groups.filter((path) => path.includes("/freezer/"))) thaw(group);
    const pids = [...new Set([...groups.flatMap(processesIn), ...monitorsOf(directory)])];
    if (pids.length === 0) break;
    for (const pid of pids) quietly(() => process.kill(pid, "SIGKILL"));
    await sleep(100);
  }
  for (const target of mountsBelow(directory, dataRoot)) run("umount", "--lazy", target);
  for (const group of groups) quietly(() => rmdirSync(group));
  for (const link of bridgesOf(tag, directory)) run("ip", "link", "delete", link);
  run("nft", "delete", "table", "inet", `berth_${tag}`);
}

/** Deepest first. */
function groupsBelow(path: string): readonly string[] {
  if (!existsSync(path)) return [];
  const below = readdirSync(path, { withFileTypes: true }).filter((item) => item.isDirectory());
  return [...below.flatMap(({ name }) => groupsBelow(join(path, name))), path];
}

function processesIn(group: string): readonly number[] {
  try {
    return readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
  } catch {
    return []; // It is gone.
  }
}

function thaw(group: string): void {
  quietly(() => execFileSync("sh", ["-c", 'echo THAWED >"$0/freezer.state"', group], { stdio: "ignore" }));
}

/** Monitors, DNS servers and runtimes name the engine's directory. */
function monitorsOf(directory: string): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        const [program = "", ...words] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        return /(conmon|dnsmasq|runc|crun)$/.test(program) && words.some((word) => word.includes(directory));
      } catch {
        return false; // It ended meanwhile.
      }
    })
    .map(Number);
}

/** Innermost first; the data root itself is its owner's to unmount. */
function mountsBelow(...roots: readonly string[]): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((target) => roots.some((root) => target.startsWith(`${root}/`)))
    .toReversed();
}

/** The default bridge, and those of networks that the engine's run directory tells of. */
function bridgesOf(tag: string, directory: string): readonly string[] {
  const networks = join(directory, "run/networks");
  const named = existsSync(networks) ? readdirSync(networks).map((id) => `brt-${id.slice(0, 8)}`) : [];
  return [`brt${tag}`, ...named].filter((name) => existsSync(join("/sys/class/net", name)));
}

function run(program: string, ...words: readonly string[]): void {
  quietly(() =>
    execFileSync(program, words, {
      stdio: "ignore",
      env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
    }),
  );
}

/** What is gone already needs no sweeping. */
function quietly(work: () => unknown): void {
  try {
    work();
  } catch {
    // The leak check that follows tells what is left.
  }
}
