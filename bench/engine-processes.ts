/** Finds an engine's processes by what they are to each other, not by name: so every engine is measured by the same rule. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { parseHost } from "../src/client/address.ts";
import type { EngineClient } from "../src/client/engine-client.ts";

/**
 * The process that listens on the engine's socket, its descendants, and the parent of the first process of each of the benchmark's
 * running containers (conmon, containerd-shim). `runRoot` finds Berth's DNS servers besides, which are nobody's children.
 */
export async function enginePids(
  engine: { readonly host: string; readonly prefix: string; readonly api: EngineClient },
  runRoot?: string,
): Promise<readonly number[]> {
  const table = processTable();
  const pids = new Set(listeners(engine.host));
  for (const pid of pids) for (const { pid: child, parent } of table) if (parent === pid) pids.add(child);
  const containers = await engine.api.call<readonly { readonly Id: string; readonly Names: readonly string[] }[]>(
    "GET",
    "/containers/json",
  );
  const parents = new Map(table.map(({ pid, parent }) => [pid, parent]));
  for (const { Id, Names } of containers) {
    if (!Names.some((name) => name.startsWith(`/${engine.prefix}`))) continue; // Somebody else's, who may remove it meanwhile.
    const { State } = await engine.api.call<{ readonly State: { readonly Pid: number } }>(
      "GET",
      `/containers/${Id}/json`,
    );
    pids.delete(State.Pid);
    const monitor = parents.get(State.Pid);
    if (monitor !== undefined && monitor > 1) pids.add(monitor);
  }
  if (runRoot !== undefined) {
    for (const { pid, command } of table) if (/dnsmasq\b/.test(command) && command.includes(runRoot)) pids.add(pid);
  }
  return [...pids];
}

/** A container's first process, its descendants, and its parent (the monitor). */
export function descendantsOf(first: number): readonly number[] {
  const table = processTable();
  const pids = new Set([first]);
  for (const pid of pids) for (const { pid: child, parent } of table) if (parent === pid) pids.add(child);
  const monitor = table.find(({ pid }) => pid === first)?.parent ?? 0;
  return monitor > 1 ? [...pids, monitor] : [...pids];
}

/** Proportional share of memory of some processes, MiB: shared pages are divided by who shares them. One that ended counts nothing. */
export function pssMiB(pids: readonly number[]): number {
  return sumOfRollups(pids, "Pss");
}

/** Resident memory of some processes, MiB: shared pages count for each. */
export function rssMiB(pids: readonly number[]): number {
  return sumOfRollups(pids, "Rss");
}

/** Processor time that the processes have used so far, their ended threads included; milliseconds. */
export function cpuMs(pids: readonly number[]): number {
  const ticksPerSecond = 100; // USER_HZ, the same on every Linux that Node runs on
  const ticks = pids.map((pid) => {
    const fields = read(`/proc/${pid}/stat`)
      ?.replace(/^.*\) /s, "")
      .split(" ");
    return Number(fields?.[11] ?? 0) + Number(fields?.[12] ?? 0);
  });
  return (ticks.reduce((sum, value) => sum + value, 0) * 1000) / ticksPerSecond;
}

function sumOfRollups(pids: readonly number[], field: "Pss" | "Rss"): number {
  const kib = pids.map((pid) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(read(`/proc/${pid}/smaps_rollup`) ?? "")?.[1] ?? 0),
  );
  return kib.reduce((sum, value) => sum + value, 0) / 1024;
}

interface ProcessLine {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

function processTable(): readonly ProcessLine[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    const stat = read(`/proc/${name}/stat`);
    const command = read(`/proc/${name}/cmdline`);
    if (stat === undefined || command === undefined) return [];
    const parent = Number(stat.replace(/^.*\) /s, "").split(" ")[1]);
    return [{ pid: Number(name), parent, command: command.replaceAll("\0", " ") }];
  });
}

/** Processes that hold the listening unix socket of a host. */
function listeners(host: string): readonly number[] {
  const address = parseHost(host);
  if (address.kind !== "unix") return [];
  // Num RefCount Protocol Flags Type St Inode Path; flag 0x10000 is a socket that listens.
  const inodes = (read("/proc/net/unix") ?? "").split("\n").flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[7] === address.path && fields[3] === "00010000" ? [`socket:[${fields[6]}]`] : [];
  });
  return processTable().flatMap(({ pid }) => (descriptors(pid).some((link) => inodes.includes(link)) ? [pid] : []));
}

function descriptors(pid: number): readonly string[] {
  return list(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return []; // Closed meanwhile.
    }
  });
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // It ended meanwhile.
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // It ended meanwhile.
  }
}
